package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// maxFrame is the largest object that is taken.
	maxFrame = 16 << 20
	// initialEnd marks the event behind which all objects have been sent.
	initialEnd = `object.metadata.annotations.k8s\.io/initial-events-end`
)

// errStale means that the server can't go on from where the watch was.
var errStale = errors.New("the watch has fallen behind the server's history")

// run watches until ctx is done: all objects first, then changes.
func (s *source) run(ctx context.Context) {
	delay := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.3, Steps: 8, Cap: 30 * time.Second}
	backoff := delay
	position := "" // the revision from which to go on; none to begin anew
	for ctx.Err() == nil {
		watching, again := context.WithCancel(ctx)
		s.mu.Lock()
		f := s.want.clone()
		s.again = again
		if s.have == nil || s.have.clone().add(f) {
			position = ""
		}
		s.mu.Unlock()
		reached, err := s.watch(watching, position, f)
		restart := watching.Err() != nil
		again()
		if reached != position {
			backoff = delay
		}
		position = reached
		switch {
		case restart || err == nil:
			continue // more fields are wanted, or the server has ended the watch in its turn
		case errors.Is(err, errStale):
			position = ""
		default:
			s.cache.log.Warn("watch", "resource", s.scope.resource.String(), "error", err)
		}
		timer := time.NewTimer(backoff.Step())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// watch reads events from a position on, or all objects where there is none. It returns the
// position that was reached.
func (s *source) watch(ctx context.Context, position string, f *fields) (string, error) {
	body, err := s.open(ctx, position)
	if err != nil {
		return position, err
	}
	defer body.Close()
	var initial map[key]*object
	if position == "" {
		initial = map[key]*object{}
	}
	var buf []byte
	frames := bufio.NewScanner(body)
	frames.Buffer(nil, maxFrame)
	for frames.Scan() {
		frame := gjson.ParseBytes(frames.Bytes())
		o := frame.Get("object")
		kind := frame.Get("type").Str
		if kind == "ERROR" {
			if o.Get("code").Int() == http.StatusGone {
				return "", errStale
			}
			return position, fmt.Errorf("the server says: %s", o.Get("message").Str)
		}
		meta := o.Get("metadata")
		k := key{meta.Get("namespace").Str, meta.Get("name").Str}
		switch kind {
		case "ADDED", "MODIFIED":
			kept, err := s.keep(k, o.Raw, f, &buf)
			if err != nil {
				return "", fmt.Errorf("%s/%s: %w", k.namespace, k.name, err)
			}
			if initial != nil {
				initial[kept.key] = kept
				continue // positions within the first objects are none
			}
			s.put(k, kept)
		case "DELETED":
			if initial != nil {
				delete(initial, k)
				continue
			}
			s.put(k, nil)
		case "BOOKMARK":
			if initial != nil {
				if frame.Get(initialEnd).Str != "true" {
					continue
				}
				s.replace(initial, f)
				initial = nil
			}
		default:
			return position, fmt.Errorf("the server sent an event of type %q", kind)
		}
		position = meta.Get("resourceVersion").Str
	}
	if err := frames.Err(); err != nil && ctx.Err() == nil {
		return position, fmt.Errorf("read: %w", err)
	}
	return position, nil
}

// open asks for a watch.
func (s *source) open(ctx context.Context, position string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(position), nil)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", s.cache.agent)
	resp, err := s.cache.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusGone {
		return nil, errStale
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	message := gjson.GetBytes(said, "message").Str
	if message == "" {
		message = string(said)
	}
	return nil, fmt.Errorf("watch: %s: %s", resp.Status, message)
}

func (s *source) url(position string) string {
	gvr := s.scope.resource
	u := s.cache.base.JoinPath("apis", gvr.Group, gvr.Version)
	if gvr.Group == "" {
		u = s.cache.base.JoinPath("api", gvr.Version)
	}
	if s.scope.namespace != "" {
		u = u.JoinPath("namespaces", s.scope.namespace)
	}
	u = u.JoinPath(gvr.Resource)
	q := url.Values{"watch": {"true"}, "allowWatchBookmarks": {"true"}}
	if position == "" {
		q.Set("sendInitialEvents", "true")
		q.Set("resourceVersionMatch", "NotOlderThan")
	} else {
		q.Set("resourceVersion", position)
	}
	if s.scope.selector != "" {
		q.Set("labelSelector", s.scope.selector)
	}
	u.RawQuery = q.Encode()
	return u.String()
}
