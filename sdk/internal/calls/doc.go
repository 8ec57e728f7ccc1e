// Package calls carries many small calls over one stream. What gathers while a message is being
// sent goes out together in the next, so that a burst costs few messages; a single call is sent by
// its own goroutine and waits for nobody.
//
// Both ends are here: [Client] for who calls (a host), [Serve] for who answers (a plugin), and
// [Reads] for calls that read something of the caller while they run. The extension points have
// messages of their own; the package knows of them only that calls and results have ids.
//
// The stream is one of gRPC, or a line: the same messages on a pair of sockets of their own, where
// a call wakes one thread at each end and no other ([Lines] for who calls, [LineServer] for who
// answers). Clients and services can't tell which they have.
package calls
