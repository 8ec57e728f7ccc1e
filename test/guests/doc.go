// Package guests holds the test of plugins that mean harm, or do it: one plugin with many
// ways to misbehave, in a real server, while other clients work and must not feel it.
//
// PINTLE names a built program, as for all suites of processes. The limits and namespaces of
// guests need root; without it, the cases that rest on them are left out with a word.
package guests
