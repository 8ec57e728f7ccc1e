package scheduler

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// source lists and watches one resource and decodes it by a function of package model.
type source[T runtime.Object] struct {
	client *client
	path   string
	decode func(raw string) (T, error)
}

func (s *source[T]) listWatch() *cache.ListWatch {
	return &cache.ListWatch{ListWithContextFunc: s.list, WatchFuncWithContext: s.watch}
}

func query(o metav1.ListOptions, watching bool) url.Values {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("resourceVersion", o.ResourceVersion)
	set("resourceVersionMatch", string(o.ResourceVersionMatch))
	set("continue", o.Continue)
	if o.Limit > 0 {
		q.Set("limit", strconv.FormatInt(o.Limit, 10))
	}
	if watching {
		q.Set("watch", "true")
		if o.AllowWatchBookmarks {
			q.Set("allowWatchBookmarks", "true")
		}
		if o.TimeoutSeconds != nil {
			q.Set("timeoutSeconds", strconv.FormatInt(*o.TimeoutSeconds, 10))
		}
		if o.SendInitialEvents != nil {
			q.Set("sendInitialEvents", strconv.FormatBool(*o.SendInitialEvents))
		}
	}
	return q
}

func (s *source[T]) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	body, err := s.client.stream(ctx, s.path, query(o, false))
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.path, err)
	}
	if !gjson.ValidBytes(raw) {
		return nil, fmt.Errorf("list %s: the answer is not JSON", s.path)
	}
	root := gjson.ParseBytes(raw)
	out := &model.List{}
	if err := json.Unmarshal([]byte(root.Get("metadata").Raw), &out.ListMeta); err != nil {
		return nil, fmt.Errorf("list %s: metadata: %w", s.path, err)
	}
	root.Get("items").ForEach(func(_, v gjson.Result) bool {
		var item T
		if item, err = s.decode(v.Raw); err == nil {
			out.Items = append(out.Items, item)
		}
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.path, err)
	}
	return out, nil
}

func (s *source[T]) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	body, err := s.client.stream(ctx, s.path, query(o, true))
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watcher{cancel: cancel, events: make(chan watch.Event, 64), done: make(chan struct{})}
	go func() {
		defer close(w.events)
		defer cancel()
		defer func() { _ = body.Close() }()
		s.read(bufio.NewReader(body), w)
	}()
	return w, nil
}

// read hands on the frames of a watch, which are lines.
func (s *source[T]) read(frames *bufio.Reader, w *watcher) {
	for {
		line, err := frames.ReadString('\n')
		if strings.TrimSpace(line) != "" && !w.send(s.event(line)) {
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !w.stopped() {
				w.send(failed(fmt.Errorf("watch %s: %w", s.path, err)))
			}
			return
		}
	}
}

func (s *source[T]) event(frame string) watch.Event {
	if !gjson.Valid(frame) {
		return failed(fmt.Errorf("watch %s: a frame is not JSON: %.100q", s.path, frame))
	}
	kind, raw := watch.EventType(gjson.Get(frame, "type").String()), gjson.Get(frame, "object").Raw
	if kind == watch.Error {
		status := &metav1.Status{}
		if err := json.Unmarshal([]byte(raw), status); err != nil {
			return failed(fmt.Errorf("watch %s: %w", s.path, err))
		}
		return watch.Event{Type: kind, Object: status}
	}
	object, err := s.decode(raw)
	if err != nil {
		return failed(fmt.Errorf("watch %s: %w", s.path, err))
	}
	return watch.Event{Type: kind, Object: object}
}

func failed(err error) watch.Event {
	return watch.Event{Type: watch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Code: 500, Message: err.Error(),
	}}
}

// watcher is one running watch.
type watcher struct {
	cancel context.CancelFunc
	events chan watch.Event
	once   sync.Once
	done   chan struct{}
}

func (w *watcher) send(e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.done:
		return false
	}
}

func (w *watcher) stopped() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Stop ends the watch.
func (w *watcher) Stop() {
	w.once.Do(func() { close(w.done); w.cancel() })
}

// ResultChan returns the events.
func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

// sink hands what a reflector finds to the engine; nothing is stored twice.
type sink[T runtime.Object] struct {
	set, remove func(T)
	replace     func([]T)
	once        sync.Once
	synced      chan struct{}
}

func newSink[T runtime.Object](set, remove func(T), replace func([]T)) *sink[T] {
	return &sink[T]{set: set, remove: remove, replace: replace, synced: make(chan struct{})}
}

// Add satisfies cache.ReflectorStore.
func (s *sink[T]) Add(obj any) error { return s.each(obj, s.set) }

// Update satisfies cache.ReflectorStore.
func (s *sink[T]) Update(obj any) error { return s.each(obj, s.set) }

// Delete satisfies cache.ReflectorStore.
func (s *sink[T]) Delete(obj any) error { return s.each(obj, s.remove) }

func (s *sink[T]) each(obj any, f func(T)) error {
	t, ok := obj.(T)
	if !ok {
		return fmt.Errorf("expected %T, got %T", t, obj)
	}
	f(t)
	return nil
}

// Replace satisfies cache.ReflectorStore.
func (s *sink[T]) Replace(list []any, _ string) error {
	all := make([]T, 0, len(list))
	for _, obj := range list {
		if err := s.each(obj, func(t T) { all = append(all, t) }); err != nil {
			return err
		}
	}
	s.replace(all)
	s.once.Do(func() { close(s.synced) })
	return nil
}

// Resync satisfies cache.ReflectorStore; there is nothing to do.
func (s *sink[T]) Resync() error { return nil }
