package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Storage makes volumes, or brings them to pods, or both.
type Storage interface {
	plugin.Plugin
	// Open returns what the storage offers. It is called once, when the plugin is configured; ctx
	// is done when nobody needs it any more, and what Open has started should end then. On a node
	// env.Node names it.
	Open(ctx context.Context, env plugin.Env) (Services, error)
}

// Services are what a storage offers; each of the interfaces may be nil. All their methods can be
// called at the same time and be repeated, with the same outcome. What they are given must not be
// changed.
type Services struct {
	// Driver is the storage's name, a domain such as "hostdir.example.com": the provisioner of
	// StorageClasses and spec.csi.driver of PersistentVolumes.
	Driver string
	// TopologyKeys are keys of nodes' labels by which it is told where a volume has to be, such
	// as "kubernetes.io/hostname"; none where every node reaches every volume.
	TopologyKeys []string
	Provisioner  Provisioner
	Expander     Expander
	Attacher     Attacher
	Mounter      Mounter
	StatsReader  StatsReader
}

// Capability is how a volume is to be used.
type Capability struct {
	AccessModes []corev1.PersistentVolumeAccessMode
	VolumeMode  corev1.PersistentVolumeMode
	// FSType is the file system to make, empty for the storage's own choice.
	FSType       string
	MountOptions []string
}

// Topology is a place: labels of nodes, with their values.
type Topology map[string]string

// Provisioner makes and removes volumes.
type Provisioner interface {
	// CreateVolume makes a volume, or returns the one that was made by the same name before. It
	// fails with ErrExhausted where there is no room for it, at r.Topologies where there are any:
	// then another node is chosen. It fails with ErrExists where there is one of that name that
	// does not fit r.
	CreateVolume(ctx context.Context, r CreateVolumeRequest) (*Volume, error)
	// DeleteVolume removes a volume and its data. One that is not there is no error. It fails with
	// ErrInUse while a node has it.
	DeleteVolume(ctx context.Context, handle string, volumeContext map[string]string) error
}

// CreateVolumeRequest asks for a volume.
type CreateVolumeRequest struct {
	// Name of the volume to be, unique in the cluster: the PersistentVolume's.
	Name string
	// CapacityBytes that it has to have at least.
	CapacityBytes int64
	Capability    Capability
	// Parameters of the StorageClass.
	Parameters map[string]string
	// Topologies are places, from one of which it must be reachable where there are any; the best
	// first.
	Topologies []Topology
	// SelectedNode is where a pod waits for the volume, empty where there is none yet.
	SelectedNode string
	// Claim that it is made for.
	Claim Claim
}

// Claim is a PersistentVolumeClaim.
type Claim struct{ Namespace, Name, UID string }

// Volume is a volume that is there.
type Volume struct {
	// Handle by which all calls name it, as PersistentVolumes do in spec.csi.volumeHandle.
	Handle string
	// CapacityBytes that it has.
	CapacityBytes int64
	// Context is handed to AttachVolume and MountVolume: spec.csi.volumeAttributes.
	Context map[string]string
	// Topologies are the places that it is reachable from, each; none for everywhere.
	Topologies []Topology
}

// Expander makes volumes larger, also those that are in use.
type Expander interface {
	// ExpandVolume makes a volume at least as large as asked for, and returns its size. It fails
	// with ErrInUse where that can't be done while a node has it.
	ExpandVolume(ctx context.Context, handle string, volumeContext map[string]string, capacityBytes int64) (int64, error)
}

// Attacher makes volumes reachable from nodes. A storage without one needs no such step.
type Attacher interface {
	// AttachVolume makes a volume reachable from a node, and returns what MountVolume has to know
	// of that. It fails with ErrInUse where another node has it and it can't be shared.
	AttachVolume(ctx context.Context, r AttachVolumeRequest) (publishContext map[string]string, err error)
	// DetachVolume undoes that. What is not attached is no error.
	DetachVolume(ctx context.Context, handle, node string) error
}

// AttachVolumeRequest asks for a volume at a node.
type AttachVolumeRequest struct {
	Handle     string
	Context    map[string]string
	Node       string
	ReadOnly   bool
	Capability Capability
}

// Mounter brings volumes to the pods of the node that the plugin runs on.
type Mounter interface {
	// MountVolume mounts a volume at r.TargetPath, a directory that is there, as the node's other
	// processes see it (a plugin with limits needs the privileges SYS_ADMIN and MountPropagation).
	// Or, needing none, it puts in the directory's place a symbolic link to a directory of the
	// plugin's own (Env.Dir). The path lies in that too; from there the node's agent brings the
	// volume into the pod, and sees to r.ReadOnly, and to the group of its files. One that is
	// mounted there already stays.
	MountVolume(ctx context.Context, r MountVolumeRequest) error
	// UnmountVolume undoes that: it leaves the directory, and removes a link. What is not mounted
	// is no error.
	UnmountVolume(ctx context.Context, handle, targetPath string) error
}

// MountVolumeRequest asks for a volume in a pod.
type MountVolumeRequest struct {
	Handle  string
	Context map[string]string
	// PublishContext is what AttachVolume returned, nil where there is no Attacher.
	PublishContext map[string]string
	TargetPath     string
	ReadOnly       bool
	Capability     Capability
	Pod            Pod
}

// Pod is the pod that a volume is mounted for.
type Pod struct{ Namespace, Name, UID, ServiceAccount string }

// StatsReader tells how full volumes are. Of a storage without one, the node asks the mounted
// file system.
type StatsReader interface {
	VolumeStats(ctx context.Context, handle, targetPath string) (Stats, error)
}

// Stats of a volume; what is not known is 0.
type Stats struct {
	CapacityBytes, UsedBytes, AvailableBytes int64
	Inodes, InodesUsed, InodesFree           int64
}

// Errors that mean something to who asks.
var (
	// ErrNotFound says that there is no such volume.
	ErrNotFound = errors.New("volume not found")
	// ErrExhausted says that there is no room for a volume, or for another at a node.
	ErrExhausted = errors.New("storage exhausted")
	// ErrInUse says that a volume is in use.
	ErrInUse = errors.New("volume in use")
	// ErrExists says that there is a volume of that name which is another.
	ErrExists = errors.New("another volume has that name")
)

// RetryError says that it is to be tried again after some time, and not when a back-off would.
type RetryError struct {
	// Reason is shown in events.
	Reason string
	After  time.Duration
}

// Error implements error.
func (e *RetryError) Error() string {
	return fmt.Sprintf("%s, to be tried again in %s", e.Reason, e.After)
}
