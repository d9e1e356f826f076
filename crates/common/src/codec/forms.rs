//! Serde's forms: each comes back as it was, or is refused by name on the side that encodes.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use super::*;

fn back<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let bytes = encode(value).map_err(|e| e.to_string())?;
    decode(&bytes).map_err(|e| panic!("{e} was found by the receiver"))
}

fn refused<T: Serialize + DeserializeOwned>(value: &T, words: &[&str]) {
    let Err(message) = back(value) else { panic!("it was encoded") };
    for word in words {
        assert!(message.contains(word), "no {word} in: {message}");
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum State {
    #[serde(skip)]
    Internal,
    Done,
    Failed(u32),
    #[serde(skip_deserializing)]
    Hidden,
    Done2,
    Failed2 {
        code: String,
    },
    Last,
}

#[test]
fn variants_behind_skipped_ones_come_back() {
    let one = [State::Done, State::Failed(7), State::Done2, State::Failed2 { code: "x".into() }, State::Last];
    for state in &one {
        assert_eq!(back(state).as_ref(), Ok(state));
        assert_eq!(back(&(1u8, Some(state.clone()))), Ok((1, Some(state.clone()))));
    }
    assert_eq!(back(&one.to_vec()), Ok(one.to_vec()));
    refused(&State::Internal, &["State", "Internal", "skip"]);
    refused(&State::Hidden, &["State", "skip"]);
}

#[test]
fn several_variants_that_are_new_at_once_come_back() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(dead_code, reason = "it is skipped")]
    enum Fresh {
        A,
        #[serde(skip)]
        B,
        C(u8),
        D(u8),
    }
    let all = vec![Fresh::A, Fresh::C(1), Fresh::D(2), Fresh::C(3)];
    assert_eq!(back(&all), Ok(all));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visit {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    referrer: Option<u64>,
    hits: u64,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "HashMap::is_empty", default)]
    more: HashMap<String, u8>,
    #[serde(skip)]
    cache: u32,
}

#[test]
fn fields_that_are_left_out_when_empty_come_back() {
    let mut visits = Vec::new();
    for i in 0..32u64 {
        let some = |bit: u64| i >> bit & 1 == 1;
        let more = if some(2) { HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]) } else { HashMap::new() };
        let tags = if some(1) { vec![i.to_string()] } else { vec![] };
        let visit = Visit { referrer: some(0).then_some(i % 3), hits: i % 5, tags, more, cache: 0 };
        assert_eq!(back(&visit).as_ref(), Ok(&visit));
        visits.push(visit);
    }
    assert_eq!(back(&visits), Ok(visits));
}

#[test]
fn a_field_that_is_left_out_otherwise_than_when_empty_is_named() {
    fn is_five(x: &u32) -> bool {
        *x == 5
    }
    fn five() -> u32 {
        5
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Odd {
        #[serde(skip_serializing_if = "is_five", default = "five")]
        x: u32,
        y: u32,
    }
    assert_eq!(back(&Odd { x: 1, y: 2 }), Ok(Odd { x: 1, y: 2 }));
    refused(&Odd { x: 5, y: 0 }, &["Odd", "`x`", "skip_serializing_if"]);
    assert_eq!(back(&Odd { x: 0, y: 0 }), Ok(Odd { x: 0, y: 0 }));
}

#[test]
fn what_is_written_and_never_read_takes_its_default() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Half {
        #[serde(skip_deserializing)]
        a: u64,
        b: u64,
    }
    for b in [0, 1, 300] {
        assert_eq!(back(&Half { a: 9, b }), Ok(Half { a: 0, b }));
        assert_eq!(back(&vec![Half { a: 9, b }, Half { a: 8, b: 1 }]), Ok(vec![Half { a: 0, b }, Half { a: 0, b: 1 }]));
    }
}

#[test]
fn what_is_read_and_never_written_is_named() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Part {
        #[serde(skip_serializing, default)]
        a: Option<u8>,
        b: u8,
    }
    refused(&Part { a: None, b: 0 }, &["Part", "skip_serializing"]);
}

#[test]
fn forms_that_must_be_told_what_comes_are_named() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Number(u32),
        Text(String),
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        A { x: u32 },
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        id: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, u32>,
    }
    refused(&Any::Number(1), &["Any", "untagged"]);
    refused(&vec![(1u8, Any::Text("x".into()))], &["Any", "untagged"]);
    refused(&Tagged::A { x: 1 }, &["Tagged", "tag"]);
    refused(&Flat { id: 1, rest: BTreeMap::new() }, &["Flat", "flatten"]);
}

#[test]
fn maps_and_sets_in_structs_come_back_in_whichever_order() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Bag {
        set: HashSet<String>,
        map: HashMap<u32, State>,
        big: (i128, u128, char, f32),
    }
    for n in 0..20u32 {
        let set = (0..n).map(|i| i.to_string()).collect();
        let map = (0..n).map(|i| (i, if i % 2 == 0 { State::Done } else { State::Failed(i) })).collect();
        let bag = Bag { set, map, big: (i128::MIN, u128::MAX, 'ö', f32::MIN) };
        assert_eq!(back(&bag).as_ref(), Ok(&bag));
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Chain(u32, Option<Box<Chain>>);

fn chain(len: u32) -> Chain {
    let mut chain = Chain(0, None);
    for i in 1..len {
        chain = Chain(i, Some(Box::new(chain)));
    }
    chain
}

/// Takes a chain apart link by link: dropping it nests, too.
fn unlink(mut chain: Chain) -> u32 {
    let mut len = 1;
    while let Some(next) = chain.1.take() {
        chain = *next;
        len += 1;
    }
    len
}

#[test]
fn a_value_that_is_nested_deeply_comes_back_or_is_refused_with_the_bound() {
    let deepest = chain(DEEPEST);
    let bytes = encode(&deepest).unwrap();
    assert_eq!((unlink(decode(&bytes).unwrap()), unlink(deepest)), (DEEPEST, DEEPEST));
    for len in [DEEPEST + 1, 500_000] {
        let deeper = chain(len);
        let message = encode(&deeper).unwrap_err().to_string();
        assert!(message.contains("Chain") && message.contains(&DEEPEST.to_string()), "{message}");
        assert!(crate::size::estimate(&deeper) >= 16 * u64::from(DEEPEST - 1));
        unlink(deeper);
    }
}

#[test]
fn references_stand_for_what_they_point_to() {
    let (number, list, array) = (7u8, vec![1u32, 2, 300], [1u64, 2]);
    let (mut borrowed, owned) = (Vec::new(), encode(&(number, list.clone(), array)).unwrap());
    crate::codec::encode_as::<(u8, Vec<u32>, [u64; 2]), _>(&(&number, &list, &array), &mut borrowed).unwrap();
    assert_eq!(borrowed, owned);
    borrowed.clear();
    crate::codec::encode_as::<(u8, Vec<u32>), _>(&(&number, &list[1..]), &mut borrowed).unwrap();
    assert_eq!(borrowed, encode(&(number, list[1..].to_vec())).unwrap());
}

#[test]
fn a_list_of_options_alone_is_walked_as_deep_as_may_be() {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Link(Option<Box<Link>>);
    let mut list = Link(None);
    for _ in 0..500_000 {
        list = Link(Some(Box::new(list)));
    }
    assert!(crate::size::estimate(&list) < 1 << 20);
    while let Some(next) = list.0.take() {
        list = *next;
    }
}

#[test]
fn nothing_is_left_of_what_is_refused() {
    let mut out = vec![1, 2];
    assert!(encode_into(&State::Internal, &mut out).is_err());
    assert_eq!(out, [1, 2]);
}
