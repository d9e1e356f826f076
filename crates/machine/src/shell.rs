//! The loop of a shell: what happens goes into its machine, what that wants is carried out.

use std::{future::Future, time::Instant};

use crate::{Driven, Machine};

/// What surrounds a machine: it hears of what happens, and carries effects out without waiting.
pub trait Shell: Sized {
    /// The machine.
    type Machine: Machine;
    /// What comes from the shell's own tasks and from its owner.
    type Input: Send;
    /// Why it cannot go on.
    type Error;

    /// The machine with its clock.
    fn driven(&mut self) -> &mut Driven<Self::Machine>;

    /// Waits for what comes next; `None` when the shell shall end. Dropped and called again at will: nothing may be lost by that.
    fn next_input(&mut self) -> impl Future<Output = Option<Self::Input>> + Send;

    /// Takes an input; what it means for the machine goes to [`step`].
    ///
    /// # Errors
    /// When the shell cannot go on.
    fn take(&mut self, input: Self::Input) -> Result<(), Self::Error>;

    /// The machine has taken an event; its effects come next.
    fn decided(&mut self) {}

    /// Does one thing that the machine wants done.
    ///
    /// # Errors
    /// When the shell cannot go on.
    fn carry_out(&mut self, effect: <Self::Machine as Machine>::Effect) -> Result<(), Self::Error>;
}

/// Hands an event to the shell's machine and carries its effects out.
///
/// # Errors
/// That of the first effect that cannot be carried out; the others are dropped.
pub fn step<S: Shell>(shell: &mut S, event: <S::Machine as Machine>::Event) -> Result<(), S::Error> {
    let effects = shell.driven().handle(event);
    shell.decided();
    effects.into_iter().try_for_each(|effect| shell.carry_out(effect))
}

/// Serves a shell until it shall end: its inputs as they come, and its machine's deadlines.
///
/// # Errors
/// When the shell cannot go on.
pub async fn serve<S: Shell + Send>(shell: &mut S) -> Result<(), S::Error> {
    loop {
        let deadline = shell.driven().deadline();
        tokio::select! {
            input = shell.next_input() => match input {
                Some(input) => shell.take(input)?,
                None => return Ok(()),
            },
            () = sleep_until(deadline) => step(shell, S::Machine::wake())?,
        }
    }
}

/// Completes then; never without a time.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firesteel_common::Tick;
    use tokio::sync::mpsc;

    use super::*;

    /// Wants to be woken a while after each number, and then says it.
    #[derive(Default)]
    struct Echo {
        pending: Option<(Tick, u32)>,
    }

    impl Machine for Echo {
        type Event = Option<u32>;
        type Effect = u32;

        fn handle(&mut self, now: Tick, event: Option<u32>, out: &mut Vec<u32>) {
            match event {
                Some(number) => self.pending = Some((now + Duration::from_millis(20), number)),
                None => out.extend(self.pending.take().map(|(_, number)| number)),
            }
        }

        fn next_deadline(&self) -> Option<Tick> {
            self.pending.map(|(at, _)| at)
        }

        fn wake() -> Option<u32> {
            None
        }

        fn check_invariants(&self) -> Result<(), String> {
            Ok(())
        }
    }

    struct Speaker {
        echo: Driven<Echo>,
        inputs: mpsc::Receiver<u32>,
        said: mpsc::UnboundedSender<u32>,
    }

    impl Shell for Speaker {
        type Machine = Echo;
        type Input = u32;
        type Error = u32;

        fn driven(&mut self) -> &mut Driven<Echo> {
            &mut self.echo
        }

        async fn next_input(&mut self) -> Option<u32> {
            self.inputs.recv().await
        }

        fn take(&mut self, input: u32) -> Result<(), u32> {
            step(self, Some(input))
        }

        fn carry_out(&mut self, effect: u32) -> Result<(), u32> {
            self.said.send(effect).map_err(|_| effect)?;
            if effect == 13 { Err(effect) } else { Ok(()) }
        }
    }

    fn speaker() -> (Speaker, mpsc::Sender<u32>, mpsc::UnboundedReceiver<u32>) {
        let ((input, inputs), (said, heard)) = (mpsc::channel(8), mpsc::unbounded_channel());
        (Speaker { echo: Driven::new(Echo::default()), inputs, said }, input, heard)
    }

    #[tokio::test]
    async fn inputs_and_deadlines_are_served_until_the_inputs_end() {
        let (mut speaker, input, mut heard) = speaker();
        let served = tokio::spawn(async move { serve(&mut speaker).await });
        for number in 0..3 {
            input.send(number).await.unwrap();
            assert_eq!(heard.recv().await, Some(number));
        }
        drop(input);
        assert_eq!(served.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn an_effect_that_cannot_be_carried_out_ends_the_loop() {
        let (mut speaker, input, _heard) = speaker();
        input.send(13).await.unwrap();
        assert_eq!(serve(&mut speaker).await, Err(13));
    }
}
