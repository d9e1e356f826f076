//! Derive macros of Firesteel, re-exported by the crate `firesteel`, whose name the generated code uses.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Code;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input, parse_quote};

/// Implements `firesteel::MemSize`: the bytes on the heap of a struct or enum are those of its fields.
///
/// Each type parameter must be `MemSize` too.
#[proc_macro_derive(MemSize)]
pub fn mem_size(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(mut input: DeriveInput) -> Result<Code, Error> {
    for parameter in input.generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::firesteel::MemSize));
    }
    let (name, (generics, arguments, clause)) = (&input.ident, input.generics.split_for_impl());
    let body = match &input.data {
        Data::Struct(data) => arm(quote!(Self), &data.fields),
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let name = &variant.ident;
                arm(quote!(Self::#name), &variant.fields)
            });
            quote!(#(#arms)*)
        }
        Data::Union(_) => return Err(Error::new_spanned(name, "the size of a union's content is not known")),
    };
    // An enum without variants has no value to match.
    let body = if body.is_empty() { quote!(match *self {}) } else { quote!(match self { #body }) };
    Ok(quote! {
        impl #generics ::firesteel::MemSize for #name #arguments #clause {
            #[inline]
            fn heap_bytes(&self) -> u64 {
                #body
            }
        }
    })
}

/// The match arm that adds up the fields of a struct or variant.
fn arm(path: Code, fields: &Fields) -> Code {
    let names: Vec<_> = (0..fields.len()).map(|i| format_ident!("field_{i}")).collect();
    let sum = quote!(0u64 #(+ ::firesteel::MemSize::heap_bytes(#names))*);
    let pattern = match fields {
        Fields::Named(fields) => {
            let members = fields.named.iter().filter_map(|f| f.ident.as_ref());
            quote!({ #(#members: #names),* })
        }
        Fields::Unnamed(_) => quote!((#(#names),*)),
        Fields::Unit => quote!(),
    };
    quote!(#path #pattern => #sum,)
}
