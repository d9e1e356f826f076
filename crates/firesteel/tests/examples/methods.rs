//! The public methods that the sources of `firesteel`, `firesteel_rdd` and `firesteel_task` declare, with their documentation.
//!
//! Reads tokens: a method is a `pub fn` in an `impl` block, also in the body of a macro, or a `fn` in a call of a macro
//! that declares operators.

use std::{
    collections::BTreeMap,
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream::IntoIter};

/// The macros whose calls declare operators.
const DECLARING: [&str; 3] = ["operators", "shuffles", "shuffles_with"];

/// What `impl` blocks say of themselves whose methods programs do not call.
const INTERNAL: [&str; 3] = ["For the Context.", "For the executor.", "For operators."];

/// A public method of a public type.
pub struct Method {
    /// The type.
    pub of: String,
    pub name: String,
    pub docs: String,
    pub file: String,
}

/// What was read.
#[derive(Default)]
pub struct Sources {
    /// The public types, with their documentation.
    pub types: BTreeMap<String, String>,
    pub methods: Vec<Method>,
}

/// What stands before an item.
#[derive(Default)]
struct Head {
    docs: String,
    hidden: bool,
    public: bool,
}

impl Sources {
    /// Reads the crates.
    pub fn read() -> Sources {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut sources = Sources::default();
        for name in names_of(&fs::read_to_string(crates.join("firesteel/src/lib.rs")).unwrap()) {
            sources.types.insert(name, String::new());
        }
        let mut files = Vec::new();
        for name in ["firesteel", "rdd", "task"] {
            collect(&crates.join(name).join("src"), &mut files);
        }
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            sources.add(&file.strip_prefix(&crates).unwrap().display().to_string(), &text);
        }
        sources
    }

    /// Reads a file.
    pub fn add(&mut self, file: &str, text: &str) {
        self.add_items(file, text.parse().unwrap_or_else(|e| panic!("{file}: {e}")));
    }

    /// The types, `impl` blocks and calls of declaring macros among `tokens`, however deep.
    fn add_items(&mut self, file: &str, tokens: TokenStream) {
        let (mut tokens, mut head) = (tokens.into_iter().peekable(), Head::default());
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => head.take(&mut tokens),
                TokenTree::Ident(word) if word == "pub" => head.public = true,
                TokenTree::Ident(word) if word == "struct" || word == "enum" => {
                    let docs = std::mem::take(&mut head).docs;
                    let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
                    if let Some(known) = self.types.get_mut(&name) {
                        known.push_str(&docs);
                    }
                }
                TokenTree::Ident(word) if word == "impl" => {
                    let docs = std::mem::take(&mut head).docs;
                    let (of, body) = self_type_and_body(&mut tokens);
                    match of.filter(|of| self.types.contains_key(of)) {
                        Some(_) if INTERNAL.contains(&docs.trim()) => {}
                        Some(of) => self.add_functions(file, &of, body, false),
                        None => self.add_items(file, body),
                    }
                }
                TokenTree::Ident(word) if DECLARING.contains(&word.to_string().as_str()) && is_call(&mut tokens) => {
                    head = Head::default();
                    if let Some(TokenTree::Group(declarations)) = tokens.next() {
                        self.add_declared(file, declarations.stream());
                    }
                }
                TokenTree::Group(group) => {
                    head = Head::default();
                    self.add_items(file, group.stream());
                }
                _ => {}
            }
        }
    }

    /// The declarations in a call of `operators!` and the like: it begins with the handle, and each `fn` is an operator.
    fn add_declared(&mut self, file: &str, tokens: TokenStream) {
        let mut rest = tokens.into_iter();
        let of = match rest.next().map(|word| word.to_string()).as_deref() {
            Some("impl") => "Rdd".to_owned(),
            Some("on") => rest.next().unwrap().to_string().replace(['[', ']', ' '], ""),
            Some("@") => rest.next().unwrap().to_string(),
            other => panic!("{file}: a macro declares operators on {other:?}"),
        };
        // In the bodies of the macros themselves the handle is a parameter.
        if of != "$" && rest.clone().any(|token| token.to_string() == "fn") {
            assert!(self.types.contains_key(&of), "{file}: a macro declares operators on {of}");
            self.add_functions(file, &of, rest.collect(), true);
        }
    }

    /// The functions among `tokens`; those without `pub` only when `all` are public.
    fn add_functions(&mut self, file: &str, of: &str, tokens: TokenStream, all: bool) {
        let (mut tokens, mut head) = (tokens.into_iter().peekable(), Head::default());
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => head.take(&mut tokens),
                TokenTree::Ident(word) if word == "pub" => {
                    // Not `pub(crate)`.
                    head.public = !is_group(tokens.peek(), Delimiter::Parenthesis);
                }
                TokenTree::Ident(word) if word == "fn" => {
                    let Head { docs, hidden, public } = std::mem::take(&mut head);
                    let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
                    let is_macro = name == "$";
                    if (public || all) && !hidden && !is_macro && !takes_scope(&mut tokens) {
                        self.methods.push(Method { of: of.to_owned(), name, docs, file: file.to_owned() });
                    }
                }
                _ => {}
            }
        }
    }
}

impl Head {
    /// Takes an attribute, whose `#` was seen.
    fn take(&mut self, tokens: &mut Peekable<IntoIter>) {
        if !is_group(tokens.peek(), Delimiter::Bracket) {
            return;
        }
        let Some(TokenTree::Group(attribute)) = tokens.next() else { return };
        let words: Vec<TokenTree> = attribute.stream().into_iter().collect();
        match &words[..] {
            [TokenTree::Ident(doc), TokenTree::Punct(_), TokenTree::Literal(line)] if doc == "doc" => {
                let line = line.to_string();
                self.docs.push_str(line.trim_start_matches('r').trim_matches('"'));
                self.docs.push('\n');
            }
            [TokenTree::Ident(doc), TokenTree::Group(what)] if doc == "doc" => {
                self.hidden |= what.stream().to_string() == "hidden";
            }
            _ => {}
        }
    }
}

fn is_group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

/// Takes the `!` of a macro's call.
fn is_call(tokens: &mut Peekable<IntoIter>) -> bool {
    let bang = tokens.next_if(|token| matches!(token, TokenTree::Punct(bang) if bang.as_char() == '!'));
    bang.is_some() && is_group(tokens.peek(), Delimiter::Brace)
}

/// The type that an inherent `impl` is for, and what is in its braces; takes both.
fn self_type_and_body(tokens: &mut Peekable<IntoIter>) -> (Option<String>, TokenStream) {
    let (mut of, mut depth, mut of_trait, mut before) = (None, 0, false, ' ');
    for token in tokens.by_ref() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return (of.filter(|_| !of_trait), group.stream());
            }
            TokenTree::Punct(mark) => {
                match mark.as_char() {
                    '<' => depth += 1,
                    '>' if before != '-' => depth -= 1,
                    ';' => return (None, TokenStream::new()),
                    _ => {}
                }
                before = mark.as_char();
            }
            TokenTree::Ident(word) if depth == 0 && word == "for" => of_trait = true,
            TokenTree::Ident(word) if depth == 0 && word == "where" => depth = i32::MIN / 2,
            TokenTree::Ident(word) if depth == 0 => of = Some(word.to_string()),
            _ => {}
        }
    }
    (None, TokenStream::new())
}

/// Whether a function's signature has a `Scope`; leaves its body.
fn takes_scope(tokens: &mut Peekable<IntoIter>) -> bool {
    fn has_scope(token: &TokenTree) -> bool {
        match token {
            TokenTree::Ident(word) => word == "Scope",
            TokenTree::Group(group) => group.stream().into_iter().any(|token| has_scope(&token)),
            _ => false,
        }
    }
    // A declaration's body may be an expression without braces, which a semicolon ends.
    let ends = |token: &TokenTree| {
        is_group(Some(token), Delimiter::Brace) || matches!(token, TokenTree::Punct(mark) if mark.as_char() == ';')
    };
    let mut found = false;
    while let Some(token) = tokens.next_if(|token| !ends(token)) {
        found |= has_scope(&token);
    }
    found
}

/// The Rust files below a directory.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

/// The names that `firesteel` makes public of its own modules, of `firesteel_rdd` and of `firesteel_task`, also in modules of `lib.rs`.
fn names_of(lib: &str) -> Vec<String> {
    let mut names = Vec::new();
    add_names(lib.parse().unwrap(), &mut names);
    assert!(["Rdd", "Context"].iter().all(|known| names.iter().any(|name| name == known)), "{names:?}");
    names
}

fn add_names(tokens: TokenStream, names: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let words: Vec<String> = tokens.iter().map(TokenTree::to_string).collect();
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => add_names(group.stream(), names),
            _ if words[i] == "pub" && words.get(i + 1).is_some_and(|word| word == "use") => {
                let path: Vec<&str> =
                    words[i + 2..].iter().map(String::as_str).take_while(|word| *word != ";").collect();
                let text = path.join(" ");
                assert!(
                    !text.contains('*') && !text.contains(" as "),
                    "{text} does not say what methods are found under"
                );
                if !text.starts_with("firesteel_") || ["firesteel_rdd", "firesteel_task"].contains(&path[0]) {
                    let all = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                    names.extend(all.filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned));
                }
            }
            _ => {}
        }
    }
}
