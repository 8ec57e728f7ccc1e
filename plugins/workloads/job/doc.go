// Package job runs the pods of Jobs until enough of them have succeeded, or one way of
// failing too often is met: completions and indexes, back-off, policies for failure and
// success, deadlines, suspension.
//
// Pods carry a finalizer until they are counted, so that each counts exactly once, however
// it goes: first their UIDs are written into the status, then the finalizer is taken off,
// then the UIDs become numbers.
package job
