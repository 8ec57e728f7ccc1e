// Package calls carries many small calls over one gRPC stream. What gathers while a message is
// being sent goes out together in the next, so that a burst costs few messages; a single call is
// sent by its own goroutine and waits for nobody.
//
// Both ends are here: [Client] for who calls (a host), [Serve] for who answers (a plugin), and
// [Reads] for calls that read something of the caller while they run. The extension points have
// messages of their own; the package knows of them only that calls and results have ids.
package calls
