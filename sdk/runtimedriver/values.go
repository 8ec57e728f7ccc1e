package runtimedriver

import (
	"io"
	"time"
)

// SandboxConfig says what sandbox to make.
type SandboxConfig struct {
	// ID is chosen by the agent: unique on the node for ever.
	ID                   string
	Namespace, Name, UID string
	// Attempt counts the sandboxes of one pod from 0.
	Attempt  int
	Hostname string
	// HostNetwork, HostPID and HostIPC share the node's namespaces.
	HostNetwork, HostPID, HostIPC bool
	// SharePID gives all containers of the pod one process namespace.
	SharePID bool
	// CgroupParent is the cgroup path of the pod, below the hierarchies' mount points.
	CgroupParent string
	// LogDir is where the log files of the pod's containers go.
	LogDir  string
	Sysctls map[string]string
	Labels  map[string]string
}

// Sandbox is a sandbox as it stands.
type Sandbox struct {
	ID                   string
	Namespace, Name, UID string
	Attempt              int
	// Ready is false where a part of it is gone, as after a reboot of the node.
	Ready bool
	// NetNS is the path of the network namespace, which the node's network plugin connects.
	// Empty on the host network, and where the driver connects its pods by itself.
	NetNS string
	// IPs of a pod that the driver has connected by itself, the primary one first. A pod with
	// neither NetNS nor IPs has the node's.
	IPs       []string
	CreatedAt time.Time
	Labels    map[string]string
}

// Mount is a file or directory of the host inside a container.
type Mount struct {
	HostPath, ContainerPath string
	ReadOnly                bool
	// Propagation is "private" (default), "rslave" or "rshared".
	Propagation string
	// RecursiveReadOnly applies ReadOnly to mounts below too.
	RecursiveReadOnly bool
}

// Device is a device node of the host inside a container.
type Device struct{ HostPath, ContainerPath, Permissions string }

// Resources are limits of one container. Zero means no limit.
type Resources struct {
	CPUShares   uint64
	CPUQuota    int64 // microseconds of CPU per CPUPeriod
	CPUPeriod   uint64
	MemoryBytes int64
	PidsLimit   int64
	// OOMScoreAdj is what the process should have; the driver clamps it to what it may set.
	OOMScoreAdj int
}

// Security says how a container is confined.
type Security struct {
	Privileged               bool
	ReadOnlyRootFS           bool
	AllowPrivilegeEscalation bool
	AddCaps, DropCaps        []string // without "CAP_"; "ALL" is understood
	// RunAsUser, RunAsGroup: nil takes the image's.
	RunAsUser, RunAsGroup *int64
	// RunAsNonRoot refuses to start a process with user id 0.
	RunAsNonRoot       bool
	SupplementalGroups []int64
	// Seccomp is "", "RuntimeDefault", "Unconfined" or "Localhost/<path>".
	Seccomp string
	// UnmaskedProc is the pod's procMount: Unmasked.
	UnmaskedProc bool
}

// ContainerConfig says what container to make.
type ContainerConfig struct {
	Name    string
	Attempt int
	// Image is the image id or reference as ImageStatus knows it.
	Image string
	// Command and Args replace the image's entrypoint and command, as in a pod.
	Command, Args []string
	Env           []string // NAME=value, later ones win
	WorkingDir    string
	Mounts        []Mount
	Devices       []Device
	Resources     Resources
	Security      Security
	TTY           bool
	Stdin         bool
	StdinOnce     bool
	// StopSignal overrides the image's, such as "SIGUSR1".
	StopSignal string
	// LogPath is the log file, in the CRI's format; its directory must exist.
	LogPath string
	Labels  map[string]string
}

// ContainerState is where a container is in its life.
type ContainerState string

// The states of a container.
const (
	ContainerCreated ContainerState = "created"
	ContainerRunning ContainerState = "running"
	ContainerExited  ContainerState = "exited"
)

// Container is a container as it stands.
type Container struct {
	ID, Name, SandboxID string
	PodUID              string
	Attempt             int
	State               ContainerState
	Image, ImageID      string
	CreatedAt           time.Time
	StartedAt           time.Time
	FinishedAt          time.Time
	ExitCode            int32
	// OOMKilled is set where the kernel ended it for want of memory.
	OOMKilled bool
	// Error is why the process could not be started; such a container is exited with
	// code 128 and has no StartedAt.
	Error   string
	LogPath string
	PID     int
	Labels  map[string]string
}

// EventType is what happened.
type EventType string

// The types of events.
const (
	EventStarted EventType = "started"
	EventExited  EventType = "exited"
	EventOOM     EventType = "oom"
)

// Event is something that happened to a container.
type Event struct {
	Type        EventType
	ContainerID string
	ExitCode    int32
	At          time.Time
}

// Stdio is one end of an exec or attach. Nil streams are not connected.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool
	Resize   <-chan TerminalSize
}

// TerminalSize in characters.
type TerminalSize struct{ Width, Height uint16 }

// RegistryAuth is who pulls an image.
type RegistryAuth struct{ Username, Password, IdentityToken string }

// Image is an image on the node.
type Image struct {
	// ID is the digest of the image's configuration, "sha256:…".
	ID string
	// RepoTags and RepoDigests are the names it goes by.
	RepoTags, RepoDigests []string
	SizeBytes             int64
	// User is what the image's configuration says.
	User string
	// Pinned images are never collected.
	Pinned bool
	// LastUsed is when a container was last made of it, where known.
	LastUsed time.Time
}

// Stats measures one container.
type Stats struct {
	At              time.Time
	CPUNanos        uint64 // cumulative
	MemoryUsage     uint64
	MemoryWorking   uint64 // usage less inactive file pages
	Pids            uint64
	WritableBytes   uint64
	WritableInodes  uint64
	MemoryLimit     uint64
	PageFaults      uint64
	MajorPageFaults uint64
}
