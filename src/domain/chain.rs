//! provisional
#![allow(missing_docs, reason = "provisional")]
#[derive(Debug, Clone, Default)]
pub struct ChainSet;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct E;
impl E { pub fn code(&self) -> &'static str { "INVALID_CHAIN_ID" } }
impl ChainSet { pub fn parse(_: &[String]) -> Result<Self, E> { Ok(Self) } }
#[derive(Debug, Clone)]
pub struct ChainAccount(String);
impl ChainAccount { pub fn parse(t: &str, _: &ChainSet) -> Result<Self, E> { Ok(Self(t.into())) } }
impl std::fmt::Display for ChainAccount { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) } }
