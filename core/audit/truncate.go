package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// MaxEventSize is the size of an event, in bytes of JSON, from which upstream truncates it.
const MaxEventSize = 100 << 10

// The annotation of truncated events; upstream's.
const (
	annotationTruncated = "audit.k8s.io/truncated"
	truncated           = "true"
)

// errTooLarge says that an event is too large without its objects, too.
var errTooLarge = errors.New("event is too large even after truncating")

// Truncate returns a sink that gives s events of up to size bytes of JSON; 0 means
// MaxEventSize. Larger ones lose the objects of request and answer, and say so by the
// annotation audit.k8s.io/truncated. What is too large even so is an error.
func Truncate(s Sink, size int) Sink {
	if size == 0 {
		size = MaxEventSize
	}
	return &truncating{s, size}
}

type truncating struct {
	Sink
	size int
}

// Write implements Sink.
func (t *truncating) Write(e *auditv1.Event) error {
	small := *e
	small.RequestObject, small.ResponseObject = nil, nil
	head, err := json.Marshal(&small)
	if err != nil {
		return fmt.Errorf("encode an audit event: %w", err)
	}
	if len(head)+objectBytes(e) <= t.size {
		return t.Sink.Write(e) //nolint:wrapcheck // the sink's own
	}
	if len(head) > t.size {
		return errTooLarge
	}
	small.Annotations = maps.Clone(small.Annotations)
	if small.Annotations == nil {
		small.Annotations = map[string]string{}
	}
	small.Annotations[annotationTruncated] = truncated
	return t.Sink.Write(&small) //nolint:wrapcheck // the sink's own
}

// objectBytes is how large the objects of an event are.
func objectBytes(e *auditv1.Event) int {
	n := 0
	if e.RequestObject != nil {
		n += len(e.RequestObject.Raw)
	}
	if e.ResponseObject != nil {
		n += len(e.ResponseObject.Raw)
	}
	return n
}

// Strict returns a sink without which no request is served: one whose first event, that it
// has been received, s does not take is refused. Events of later stages that s does not take
// are lost, as a request that has been served can't be refused.
func Strict(s Sink) Sink { return strict{s} }

type strict struct{ Sink }
