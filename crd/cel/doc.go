// Package cel gives upstream's environment of CEL expressions limits of memory and time that
// it lacks: functions may not make strings and lists without end, nor compare values that
// share their parts so often that nobody sees the end. What they make is counted.
//
// The language is the same, and so are the costs of all that is of usual size. Rules in
// schemas and expressions of admission are compiled in it.
//
// It must not know what expressions are about.
package cel
