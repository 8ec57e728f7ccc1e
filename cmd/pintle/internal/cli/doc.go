// Package cli is the command line: one file for each command, thin over the packages that
// do the work.
package cli
