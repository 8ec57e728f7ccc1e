// Package protection keeps claims that pods use, and volumes that are bound, from going
// before their users: while they are in use they carry a finalizer, which is taken off when
// they are to be deleted and nobody uses them any more.
package protection
