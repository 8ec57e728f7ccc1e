package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/apiserver/internal/managedfields"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// request is one request of objects on its way.
type request struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	route  route
	query  url.Values
	user   resource.User
	kind   *kind
	accept media.Accept
	// warnings go to the client as headers.
	warnings []string
	wrote    bool
	// inPieces allows a long list to be read while it is answered.
	inPieces bool
	// standing is the state by which a change is judged.
	standing store.Standing
	// ticket is flow control's; a watch releases it when it has sent what was there.
	ticket *fairness.Ticket
	// op is the operation of a transaction that the request is, nil for most.
	op *operation
	// internal requests are the server's own: no admission is done.
	internal bool
}

// acceptedTypes are the formats of a kind.
func acceptedTypes(k *kind) []string {
	types := []string{media.TypeJSON, media.TypeYAML}
	if k == nil || k.protobuf {
		types = append(types, media.TypeProtobuf)
	}
	return types
}

// negotiate settles the format of the answer.
func (q *request) negotiate(o media.Offer) error {
	o.Builtin = q.kind.builtin
	a, ok := media.Negotiate(q.r.Header.Get("Accept"), o)
	if !ok {
		return q.errNotAcceptable(o)
	}
	if a.Version == "" {
		a.Version = "v1"
	}
	if a.View == media.Table {
		switch v := q.query.Get("includeObject"); v {
		case "", "Metadata", "Object", "None":
		default:
			return apierrors.NewBadRequest(fmt.Sprintf(
				"Unable to convert to Table as requested: includeObject: Invalid value: %q: must be 'Metadata', 'Object', 'None', or empty", v))
		}
	}
	if isTrue(q.query.Get("pretty")) {
		a.Pretty = true
	}
	q.accept = a
	return nil
}

// writer says who the request's changes belong to.
func (q *request) writer() managedfields.Writer {
	m := q.query.Get("fieldManager")
	if m == "" {
		m = managerOf(q.r.UserAgent())
	}
	return managedfields.Writer{Manager: m, APIVersion: q.kind.apiVersion, Subresource: q.route.subresource,
		Time: q.server.now()}
}

// managerOf takes the program's name out of a user agent.
func managerOf(agent string) string {
	name, _, _ := strings.Cut(agent, "/")
	var b strings.Builder
	for _, c := range name {
		if !unicode.IsPrint(c) {
			continue
		}
		if b.Len()+len(string(c)) > 128 {
			break
		}
		b.WriteRune(c)
	}
	if b.Len() == 0 {
		return "unknown"
	}
	return b.String()
}

// now is the time as objects have it: UTC, in seconds.
func (s *Server) now() string { return s.cfg.Now().UTC().Format("2006-01-02T15:04:05Z") }

// warn adds warnings to the answer.
func (q *request) warn(texts ...string) { q.warnings = append(q.warnings, texts...) }

const maxWarningBytes = 4096

func (q *request) writeWarnings() {
	total := 0
	seen := map[string]bool{}
	for _, t := range q.warnings {
		if t == "" || seen[t] {
			continue
		}
		seen[t] = true
		text := quoteWarning(t)
		if total += len(text); total > maxWarningBytes {
			return
		}
		q.w.Header().Add("Warning", text)
	}
}

// quoteWarning makes a Warning header's value (RFC 7234) of a text.
func quoteWarning(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, text)
	return fmt.Sprintf(`299 - "%s"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text))
}
