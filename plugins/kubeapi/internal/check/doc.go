// Package check has the checks that many kinds share, with upstream's messages. Paths are
// made only for what is wrong, since nearly everything is right.
//
// It must know nothing of kinds.
package check
