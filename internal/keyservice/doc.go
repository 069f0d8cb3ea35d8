// Package keyservice keeps the keys of all organizations outside the database
// and its backups, and hands servers what they need to derive single keys.
//
// The key service is one process; its store has two copies in two zones, and
// each copy opens only with the epoch master key that guardians hold (see
// package guardian). It promises:
//   - What was answered is durable in both zones and read back from them.
//   - A leaf is handed out once: not again after kill -9, after the loss of a
//     zone, or after a restore.
//   - It never goes back: a store older than what the guardians counted is
//     refused, and a second key service over the same store is fenced off.
//   - One zone or one guardian may be lost; what is left goes on serving, says
//     that it is degraded, and fills the other again when it is back.
//   - One organization's key opens nothing of another's (ENC-2).
//
// Servers use a [Client]: [Client.Keys] gives an organization's keys in the
// form that package seal wants, [Client.NewLeaf] leaves that were never used.
// The protocol, the files and what happens at each possible crash are in
// docs/key-service.md; the formats do not change.
package keyservice
