package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// request is one line of a topic.
type request struct {
	// Do is method and path. ${ns} is the topic's namespace, ${NAME} what was kept.
	Do string `json:"do"`
	// Accept and Type are the headers Accept and Content-Type; a body without Type is JSON.
	Accept  string            `json:"accept,omitempty"`
	Type    string            `json:"type,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	// Body is text, sent as it is, or an object, sent as JSON.
	Body any `json:"body,omitempty"`
	// Fill makes a body of so many bytes.
	Fill int `json:"fill,omitempty"`
	// Keep names values of the answer's body, by their paths, for later requests.
	Keep map[string]string `json:"keep,omitempty"`
	// Until repeats the request while the answer has another code, as for types that are
	// installed a moment after their definition.
	Until int `json:"until,omitempty"`
	// BodyDiffers says why the body can't be compared.
	BodyDiffers string `json:"bodyDiffers,omitempty"`
}

// difference is an answer that is not upstream's.
type difference struct {
	// At is the request's place in its topic, from 0, and Do its method and path.
	At int    `json:"at"`
	Do string `json:"do"`
	// Code is the status code of our answer.
	Code int    `json:"code"`
	Why  string `json:"why"`
}

// answer is what is compared.
type answer struct {
	Do      string              `json:"do"`
	Code    int                 `json:"code"`
	Headers map[string][]string `json:"headers,omitempty"`
	// Body is a value, a list of values where the answer is a stream, or text.
	Body any `json:"body,omitempty"`
}

// compared are the headers that are part of an answer.
var compared = [...]string{"Content-Type", "Warning", "Allow", "Retry-After", "Cache-Control", "X-Content-Type-Options", "Location"}

// session sends the requests of a topic to one server.
type session struct {
	server    server
	namespace string
	kept      map[string]string
}

// server is ours or a kube-apiserver.
type server struct {
	url    string
	client *http.Client
}

func (s *session) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(match string) string {
		name := match[2 : len(match)-1]
		switch v, ok := s.kept[name]; {
		case name == "ns":
			return s.namespace
		case ok:
			return v
		}
		return match
	})
}

func (s *session) send(tb testing.TB, r request) answer {
	tb.Helper()
	until := time.Now().Add(10 * time.Second)
	for {
		a := s.sendOnce(tb, r)
		if r.Until == 0 || a.Code == r.Until || time.Now().After(until) {
			return a
		}
		time.Sleep(20 * time.Millisecond) // the pace of a poll
	}
}

func (s *session) sendOnce(tb testing.TB, r request) answer {
	tb.Helper()
	method, path, _ := strings.Cut(r.Do, " ")
	body := s.body(tb, r)
	req, err := http.NewRequestWithContext(tb.Context(), method, s.server.url+s.expand(path), bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("User-Agent", "differential/1")
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	if r.Type != "" {
		req.Header.Set("Content-Type", r.Type)
	} else if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.server.client.Do(req)
	if err != nil {
		return answer{Do: r.Do, Body: "(no answer)"} // a handler has failed
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("%s: %v", r.Do, err)
	}
	a := answer{Do: r.Do, Code: resp.StatusCode}
	for _, h := range compared {
		if v := resp.Header.Values(h); len(v) > 0 {
			if a.Headers == nil {
				a.Headers = map[string][]string{}
			}
			for _, text := range v {
				a.Headers[h] = append(a.Headers[h], s.plain(text))
			}
		}
	}
	a.Body = s.decode(tb, r, resp.Header.Get("Content-Type"), data)
	return a
}

func (s *session) body(tb testing.TB, r request) []byte {
	tb.Helper()
	switch b := r.Body.(type) {
	case nil:
		if r.Fill > 0 {
			return bytes.Repeat([]byte(" "), r.Fill)
		}
		return nil
	case string:
		return []byte(s.expand(b))
	default:
		data, err := json.Marshal(b)
		if err != nil {
			tb.Fatal(err)
		}
		return []byte(s.expand(string(data)))
	}
}

// decode makes values of an answer's body, and keeps what the request wants of it.
func (s *session) decode(tb testing.TB, r request, contentType string, data []byte) any {
	tb.Helper()
	if strings.Contains(contentType, "protobuf") || strings.Contains(contentType, "cbor") {
		return "(binary)"
	}
	var values []any
	decoder := json.NewDecoder(bytes.NewReader(data))
	for decoder.More() {
		var v any
		if err := decoder.Decode(&v); err != nil {
			return s.plain(string(data))
		}
		values = append(values, v)
	}
	if len(values) == 1 {
		for name, path := range r.Keep {
			s.kept[name] = lookup(values[0], path)
		}
	}
	stream := strings.Contains(contentType, "stream=watch") || strings.Contains(r.Do, "watch=")
	for i := range values {
		values[i] = s.normal("", values[i])
	}
	switch {
	case len(values) == 0:
		return nil
	case len(values) == 1 && !stream:
		return values[0]
	}
	return values
}

func lookup(v any, path string) string {
	for _, p := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// normal replaces what no two servers have in common.
func (s *session) normal(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["priority"]; ok && v["format"] != nil {
			delete(v, "description") // of a column: prose, and ours is our own
		}
		if items, ok := v["items"].([]any); ok {
			for _, item := range items {
				// Upstream leaves them out of lists of its own kinds; they are here as in the object.
				if m, ok := item.(map[string]any); ok {
					delete(m, "apiVersion")
					delete(m, "kind")
				}
			}
		}
		for k := range v {
			v[k] = s.normal(k, v[k])
		}
	case []any:
		for i := range v {
			v[i] = s.normal("", v[i])
		}
	case string:
		switch {
		case v == "":
		case key == "resourceVersion" && v != "0":
			return "RV"
		case key == "continue":
			return "TOKEN"
		}
		return s.plain(v)
	}
	return v
}

var (
	variable  = regexp.MustCompile(`\$\{\w+\}`)
	uid       = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	date      = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	age       = regexp.MustCompile(`^\d+s$`)
	current   = regexp.MustCompile(`current: \d+`)
	object    = regexp.MustCompile(`Invalid value: "(\{\\"|map\[).*[}\]]": `)
	revision  = regexp.MustCompile(`(resourceVersion\\?"?: ?\\?")\d+`)
	generated = regexp.MustCompile(`\bmade-[a-z0-9]{5}\b`)
)

func (s *session) plain(text string) string {
	text = strings.ReplaceAll(text, s.namespace, "NAMESPACE")
	for name, v := range s.kept {
		if uid.MatchString(v) {
			text = regexp.MustCompile(`\b`+regexp.QuoteMeta(v)+`\b`).ReplaceAllLiteralString(text, "${"+name+"}")
		}
	}
	text = uid.ReplaceAllString(text, "UID")
	text = date.ReplaceAllString(text, "TIME")
	text = revision.ReplaceAllString(text, "${1}RV")
	text = object.ReplaceAllString(text, `Invalid value: "OBJECT": `)
	text = age.ReplaceAllString(text, "AGE")
	text = current.ReplaceAllString(text, "current: RV")
	return generated.ReplaceAllString(text, "made-xxxxx")
}
