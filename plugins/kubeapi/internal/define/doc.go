// Package define writes resource definitions down in few words.
//
// It must know nothing of what any kind does.
package define
