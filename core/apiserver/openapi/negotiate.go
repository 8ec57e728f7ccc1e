package openapi

import (
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
)

// offer is a media type that is served; old spellings share a result.
type offer struct{ kind, sub, contentType string }

// choose returns the first offer that the client accepts.
func choose(r *http.Request, offers []offer) (string, bool) {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "" {
		return offers[0].contentType, true
	}
	for _, a := range goautoneg.ParseAccept(header) {
		for _, o := range offers {
			if (a.Type == "*" || a.Type == o.kind) && (a.SubType == "*" || a.SubType == o.sub) {
				return o.contentType, true
			}
		}
	}
	return "", false
}

// matches reports whether the client has the document of this hash.
func matches(r *http.Request, hash string) bool {
	for _, h := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(h, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == `"`+hash+`"` {
				return true
			}
		}
	}
	return false
}

// write answers with a document, or with 304 where the client has it.
func write(w http.ResponseWriter, r *http.Request, contentType, hash string, body []byte) {
	w.Header().Set("ETag", `"`+hash+`"`)
	if matches(r, hash) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client has gone; there is nobody to tell
	}
}
