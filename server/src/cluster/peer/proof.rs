//! The proof that both ends have the cluster's key. It is made of secrets of this very TLS connection, so that what is said in
//! one is worth nothing in another, and of who says it, so that nobody is answered with their own.

use quinn::Connection;

use crate::cluster::key::ClusterKey;

use super::wire::Broken;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;
const EXPORTER: &[u8] = b"EXPORTER-quip-node/1";

/// Who says it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Asks,
    Answers,
}

impl Role {
    fn label(self) -> &'static [u8] {
        match self {
            Role::Asks => b"quip-node/1 asks\0",
            Role::Answers => b"quip-node/1 answers\0",
        }
    }
}

fn said(connection: &Connection, role: Role) -> Result<Vec<u8>, Broken> {
    let mut exported = [0; 32];
    // It does not fail where the handshake is done.
    connection.export_keying_material(&mut exported, EXPORTER, &[]).map_err(|_| Broken::Key)?;
    Ok([role.label(), &exported].concat())
}

/// What one end says.
pub(super) fn prove(key: &ClusterKey, connection: &Connection, role: Role) -> Result<[u8; 32], Broken> {
    Ok(key.sign(&said(connection, role)?))
}

/// Whether the other end, of this role, has the key.
pub(super) fn check(
    key: &ClusterKey,
    connection: &Connection,
    role: Role,
    proof: &[u8; PROOF_BYTES],
) -> Result<(), Broken> {
    if key.is_signed(&said(connection, role)?, proof) { Ok(()) } else { Err(Broken::Key) }
}
