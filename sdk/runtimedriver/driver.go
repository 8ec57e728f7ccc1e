package runtimedriver

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Errors that mean something to who asks. Beside them, errors.ErrUnsupported says that a driver
// does not do what it was asked for.
var (
	// ErrNotFound is wrapped by errors about a sandbox, container or image that the runtime
	// does not have.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable is wrapped by errors of calls that could not reach the runtime, or were cut
	// off: nobody knows whether what was asked for has been done. Drivers need not return it.
	ErrUnavailable = errors.New("the container runtime cannot be reached")
)

// RuntimeDriver is a plugin that is a container runtime on one node.
type RuntimeDriver interface {
	plugin.Plugin
	// Open begins to work for the node's agent. It is called when the plugin is configured, and
	// returns when sandboxes and containers can be listed, those of an earlier process among
	// them. ctx is done when the agent does not need it any more; what is run goes on then.
	//
	// In an upgrade two processes are open for a moment, of which the new one is asked; so what
	// runs is best looked up where it runs, and not remembered.
	Open(ctx context.Context, env plugin.Env) (Driver, error)
}

// Driver is a container runtime on one node. All calls may be made concurrently. It may be an
// ImageImporter, a StatsReader and a PortForwarder as well.
type Driver interface {
	Sandboxes
	Containers
	Streams
	Images
	Observer
}

// Sandboxes makes and removes what the containers of a pod share.
type Sandboxes interface {
	// RunSandbox makes a sandbox with namespaces ready for the network to attach to. It
	// is idempotent by SandboxConfig.ID.
	RunSandbox(ctx context.Context, cfg SandboxConfig) (Sandbox, error)
	// RemoveSandbox kills and removes the containers of a sandbox and then the sandbox
	// itself. A sandbox that does not exist is no error.
	RemoveSandbox(ctx context.Context, id string) error
	// ListSandboxes returns every sandbox of this agent, broken ones too.
	ListSandboxes(ctx context.Context) ([]Sandbox, error)
}

// Containers runs the processes of a pod.
type Containers interface {
	// CreateContainer prepares a container up to the point where its process only has to
	// be let go, and returns its id. A process that cannot be made, as where its command
	// does not exist, is StartContainer's error, and the container is then exited.
	CreateContainer(ctx context.Context, sandboxID string, cfg ContainerConfig) (string, error)
	// StartContainer lets the process of a created container go.
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends the stop signal, waits up to grace, then kills, and returns
	// when the process is gone. A container that does not run is no error.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	// RemoveContainer removes a container and its writable layer, killing it first if
	// it runs. Its log files stay. A container that does not exist is no error.
	RemoveContainer(ctx context.Context, id string) error
	// ListContainers returns every container of this agent.
	ListContainers(ctx context.Context) ([]Container, error)
}

// Streams connects people to containers.
type Streams interface {
	// Exec runs a command in a running container and returns its exit code. The end of the
	// input is passed on to the command; that of the command is not held up by an input that
	// goes on.
	Exec(ctx context.Context, id string, cmd []string, io Stdio) (int, error)
	// Attach connects to the main process of a running container until it exits, the
	// context ends or the input and all outputs are closed.
	Attach(ctx context.Context, id string, io Stdio) error
}

// PortForwarder is a driver whose pods can be reached through it.
type PortForwarder interface {
	// PortForward copies between stream and a TCP port on the sandbox's loopback, and closes
	// stream.
	PortForward(ctx context.Context, sandboxID string, port int32, stream io.ReadWriteCloser) error
}

// Images keeps the images of the node.
type Images interface {
	// PullImage fetches and unpacks an image by its normalised reference.
	PullImage(ctx context.Context, ref string, auth *RegistryAuth) (Image, error)
	// ImageStatus returns the image that a reference or an image id names, or an error
	// that wraps ErrNotFound.
	ImageStatus(ctx context.Context, ref string) (Image, error)
	// ListImages returns all images.
	ListImages(ctx context.Context) ([]Image, error)
	// RemoveImage removes an image with all its names.
	RemoveImage(ctx context.Context, id string) error
}

// ImageImporter is a driver that takes images from archives.
type ImageImporter interface {
	// ImportImages reads an OCI or docker archive and returns what was in it.
	ImportImages(ctx context.Context, archive io.Reader) ([]Image, error)
}

// Observer tells what happens in the runtime.
type Observer interface {
	// Events sends the starts and ends of containers until the context ends. The channel
	// is closed when the stream to the runtime breaks, and when the context has ended; the caller
	// subscribes again and relists, since events in between are lost.
	Events(ctx context.Context) (<-chan Event, error)
	// Version names the runtime as a node reports it, such as "containerd://1.6.20".
	Version(ctx context.Context) (string, error)
}

// StatsReader is a driver that measures.
type StatsReader interface {
	// ContainerStats measures one running container.
	ContainerStats(ctx context.Context, id string) (Stats, error)
}
