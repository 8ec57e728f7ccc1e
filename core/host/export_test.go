package host

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"k8s.io/client-go/dynamic"
)

// WaitFor returns when the status of a plugin satisfies f.
func (h *Host) WaitFor(ctx context.Context, name string, f func(Status) bool) (Status, error) {
	s, err := h.plugin(name)
	if err != nil {
		return Status{}, err
	}
	for {
		st, changed := s.watch()
		if f(st) {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, fmt.Errorf("plugin %s stays %s (%s): %w", name, st.Health, st.Reason, ctx.Err())
		}
	}
}

// Conn is the host's connection to a plugin that runs in a process.
func (h *Host) Conn(name string) grpc.ClientConnInterface {
	s, err := h.plugin(name)
	if err != nil {
		return nil
	}
	return s.serving.Load().guest.client.Conn()
}

// PublishTo makes the host publish through the given client.
func (h *Host) PublishTo(client dynamic.Interface) {
	h.publisher, h.wishes = newPublisher(h, client), newWishes(h, client)
}

// SocketDir is where plugins' sockets are.
func (h *Host) SocketDir() string { return h.sockets }

// SpecTree and StatusTree make the parts of a Plugin object.
var (
	SpecTree   = specTree
	StatusTree = statusTree
)
