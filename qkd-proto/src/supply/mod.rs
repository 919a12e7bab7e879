//! End-to-end keys wait for their application. In: what an SAE asks for. Out: keys, each once to
//! each entitled SAE, or a refusal in the words of ETSI GS QKD 014.

pub mod message;
