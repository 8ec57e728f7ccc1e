// Package denial words refusals of who is asked in admission and is no part of this server, as
// clients know them from upstream. It must not know who that is.
package denial

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Message is what a client is told of a refusal by who, such as `webhook "x"`, with the message
// or else the reason that it gave.
func Message(who string, given *metav1.Status) string {
	denied := fmt.Sprintf("admission %s denied the request", who)
	switch {
	case given.Message != "":
		return denied + ": " + given.Message
	case given.Reason != "":
		return denied + ": " + string(given.Reason)
	default:
		return denied + " without explanation"
	}
}
