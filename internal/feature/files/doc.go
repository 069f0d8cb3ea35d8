// Package files keeps an organization's files: the bytes are sealed objects,
// and the tables hold their versions and their sealed names.
//
// What it keeps true:
//
//   - A file of any size goes up and down in constant memory, sealed on the way:
//     its bytes are plaintext nowhere but between the connection and the seal.
//   - A version is an immutable object under a key of its own. A row says
//     pending before the first byte and stored after the last: what is not
//     stored is invisible, and the sweep clears it away.
//   - Names and media types are sealed, and never part of a URL or a path.
//   - A download sends no byte before its opening event is durable, and no byte
//     that was not verified.
//
// An upload or download enters the door by [tenant.Stream]; everything else
// by [tenant.Do]. To add an operation, declare a [feature.Op] in ops.go.
package files
