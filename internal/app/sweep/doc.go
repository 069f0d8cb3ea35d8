// Package sweep tries a whole installation as its users and its thieves would:
// real processes, the real command line, real data.
//
// Its tests hold three sentences. What a caller types is found nowhere but in
// answers to who may read it: random values are planted in every field that
// the API's own description names, then looked for in logs, refusals, the
// database's pages and write-ahead log, objects, key stores and temporary
// files. What is stored comes back byte for byte, by the command line, in both
// placements. And the way of a newcomer through the README works.
//
// There is nothing to import. A new operation of the API needs a step in
// tour_test.go, and the test says so.
package sweep
