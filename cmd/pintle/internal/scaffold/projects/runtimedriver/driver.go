package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// driver runs containers. These are hollow: they have a state and a log, and nothing runs in them. A
// driver for virtual machines or WebAssembly starts and ends something where they only change
// their state; everything else stays as it is.
type driver struct {
	settings Settings
	file     *file

	mu          sync.Mutex
	subscribers map[chan runtimedriver.Event]bool
}

var _ runtimedriver.Driver = (*driver)(nil)

func absent(what, id string) error {
	return fmt.Errorf("%s %s: %w", what, id, runtimedriver.ErrNotFound)
}

// RunSandbox implements runtimedriver.Sandboxes. A sandbox without a network namespace needs no
// network plugin: the pod has the node's address.
func (d *driver) RunSandbox(_ context.Context, cfg runtimedriver.SandboxConfig) (s runtimedriver.Sandbox, err error) {
	err = d.file.change(func(st *state) error {
		var there bool
		if s, there = st.Sandboxes[cfg.ID]; !there {
			s = runtimedriver.Sandbox{
				ID: cfg.ID, Namespace: cfg.Namespace, Name: cfg.Name, UID: cfg.UID, Attempt: cfg.Attempt,
				Ready: true, CreatedAt: time.Now(), Labels: cfg.Labels,
			}
			st.Sandboxes[cfg.ID] = s
		}
		return nil
	})
	return s, err
}

// RemoveSandbox implements runtimedriver.Sandboxes.
func (d *driver) RemoveSandbox(_ context.Context, id string) error {
	return d.happen(func(st *state) (events []runtimedriver.Event, err error) {
		for cid, c := range st.Containers {
			if c.SandboxID == id {
				events = append(events, end(&c, 137)...)
				delete(st.Containers, cid)
			}
		}
		delete(st.Sandboxes, id)
		return events, nil
	})
}

// ListSandboxes implements runtimedriver.Sandboxes.
func (d *driver) ListSandboxes(context.Context) ([]runtimedriver.Sandbox, error) {
	st, err := d.file.read()
	if err != nil {
		return nil, err
	}
	out := make([]runtimedriver.Sandbox, 0, len(st.Sandboxes))
	for _, s := range st.Sandboxes {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b runtimedriver.Sandbox) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// CreateContainer implements runtimedriver.Containers.
func (d *driver) CreateContainer(_ context.Context, sandbox string, cfg runtimedriver.ContainerConfig) (string, error) {
	id := rand.Text()
	err := d.file.change(func(st *state) error {
		s, ok := st.Sandboxes[sandbox]
		if !ok {
			return absent("sandbox", sandbox)
		}
		image, ok := st.image(cfg.Image)
		if !ok {
			return absent("image", cfg.Image)
		}
		st.Containers[id] = runtimedriver.Container{
			ID: id, Name: cfg.Name, SandboxID: sandbox, PodUID: s.UID, Attempt: cfg.Attempt, State: runtimedriver.ContainerCreated,
			Image: cfg.Image, ImageID: image.ID, CreatedAt: time.Now(), LogPath: cfg.LogPath, Labels: cfg.Labels,
		}
		return nil
	})
	return id, err
}

// StartContainer implements runtimedriver.Containers.
func (d *driver) StartContainer(_ context.Context, id string) error {
	return d.happen(func(st *state) ([]runtimedriver.Event, error) {
		c, ok := st.Containers[id]
		if !ok {
			return nil, absent("container", id)
		}
		if c.State != runtimedriver.ContainerCreated {
			return nil, fmt.Errorf("container %s is %s", id, c.State)
		}
		c.State, c.StartedAt = runtimedriver.ContainerRunning, time.Now()
		if err := writeLog(c.LogPath, d.settings.Greeting+" "+c.Name); err != nil {
			return nil, err
		}
		st.Containers[id] = c
		return []runtimedriver.Event{{Type: runtimedriver.EventStarted, ContainerID: id, At: c.StartedAt}}, nil
	})
}

// StopContainer implements runtimedriver.Containers. What runs is asked to end, and killed after the
// grace period; a hollow container needs no time for it.
func (d *driver) StopContainer(_ context.Context, id string, _ time.Duration) error {
	return d.happen(func(st *state) (events []runtimedriver.Event, err error) {
		if c, ok := st.Containers[id]; ok {
			events = end(&c, 143)
			st.Containers[id] = c
		}
		return events, nil
	})
}

// RemoveContainer implements runtimedriver.Containers.
func (d *driver) RemoveContainer(_ context.Context, id string) error {
	return d.happen(func(st *state) (events []runtimedriver.Event, err error) {
		if c, ok := st.Containers[id]; ok {
			events = end(&c, 137)
			delete(st.Containers, id)
		}
		return events, nil
	})
}

// ListContainers implements runtimedriver.Containers.
func (d *driver) ListContainers(context.Context) ([]runtimedriver.Container, error) {
	st, err := d.file.read()
	if err != nil {
		return nil, err
	}
	out := make([]runtimedriver.Container, 0, len(st.Containers))
	for _, c := range st.Containers {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b runtimedriver.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// end ends a container that runs.
func end(c *runtimedriver.Container, code int32) []runtimedriver.Event {
	if c.State != runtimedriver.ContainerRunning {
		return nil
	}
	c.State, c.ExitCode, c.FinishedAt = runtimedriver.ContainerExited, code, time.Now()
	return []runtimedriver.Event{{Type: runtimedriver.EventExited, ContainerID: c.ID, ExitCode: code, At: c.FinishedAt}}
}

// Version implements runtimedriver.Observer.
func (d *driver) Version(context.Context) (string, error) { return "gizmo-name://0.1.0", nil }
