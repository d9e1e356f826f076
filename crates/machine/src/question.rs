//! Questions to a machine that a shell serves: who listens on another port asks how things stand, and is answered between two
//! events.
//!
//! ```text
//!  Asker::ask ──Question──▶ Questions::next ─▶ the shell's next_input ─▶ take ─▶ Questions::answer ──view──▶ whoever waits
//! ```
//!
//! One view answers all who wait by then, so a flood of questions costs the machine one view an event.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

/// Who has more questions than this waits until they are taken.
const WAITING: usize = 64;

/// Asks for a view `V` of a machine. Cheap to clone.
#[derive(Debug)]
pub struct Asker<V>(mpsc::Sender<Question<V>>);

/// Somebody waits for a view.
#[derive(Debug)]
pub struct Question<V>(oneshot::Sender<Arc<V>>);

/// A shell's end: the questions that were put to it.
#[derive(Debug)]
pub struct Questions<V>(mpsc::Receiver<Question<V>>);

/// The two ends.
pub fn questions<V>() -> (Asker<V>, Questions<V>) {
    let (asker, questions) = mpsc::channel(WAITING);
    (Asker(asker), Questions(questions))
}

impl<V> Clone for Asker<V> {
    fn clone(&self) -> Asker<V> {
        Asker(self.0.clone())
    }
}

impl<V> Asker<V> {
    /// How things stand after all events that the machine has taken; `None` when its shell has ended.
    pub async fn ask(&self) -> Option<Arc<V>> {
        let (answer, view) = oneshot::channel();
        self.0.send(Question(answer)).await.ok()?;
        view.await.ok()
    }
}

impl<V> Questions<V> {
    /// The next one; `None` when nobody can ask any more. Dropped and called again at will.
    pub async fn next(&mut self) -> Option<Question<V>> {
        self.0.recv().await
    }

    /// Answers it, and all others that wait by now. The machine must not take an event between the making of `view` and this.
    pub fn answer(&mut self, first: Question<V>, view: V) {
        let view = Arc::new(view);
        let mut next = Some(first);
        while let Some(Question(answer)) = next {
            // Fails when whoever asked has gone.
            let _ = answer.send(view.clone());
            next = self.0.try_recv().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_view_answers_all_who_wait() {
        let (asker, mut questions) = questions();
        let ask = || {
            let asker = asker.clone();
            tokio::spawn(async move { asker.ask().await })
        };
        let waiting: Vec<_> = (0..5).map(|_| ask()).collect();
        let first = questions.next().await.unwrap();
        while questions.0.len() < 4 {
            tokio::task::yield_now().await;
        }
        questions.answer(first, 7);
        for answer in waiting {
            assert_eq!(answer.await.unwrap().as_deref(), Some(&7));
        }
        assert!(questions.0.is_empty());
    }

    #[tokio::test]
    async fn who_asks_a_shell_that_has_ended_is_told_so() {
        let (asker, mut questions) = questions::<u32>();
        let waiting = tokio::spawn(async move { (asker.ask().await, asker.ask().await) });
        let question = questions.next().await.unwrap();
        drop(question);
        drop(questions);
        assert_eq!(waiting.await.unwrap(), (None, None));
    }

    #[tokio::test]
    async fn when_nobody_can_ask_any_more_there_is_no_next_question() {
        let (asker, mut questions) = questions::<u32>();
        drop(asker);
        assert!(questions.next().await.is_none());
    }
}
