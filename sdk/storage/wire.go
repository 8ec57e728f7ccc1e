package storage

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// meanings are the errors that cross the wire as what they are.
func meanings() map[codes.Code]error {
	return map[codes.Code]error{
		codes.NotFound:           ErrNotFound,
		codes.ResourceExhausted:  ErrExhausted,
		codes.FailedPrecondition: ErrInUse,
		codes.AlreadyExists:      ErrExists,
	}
}

// errorToWire keeps what an error means.
func errorToWire(err error) error {
	var retry *RetryError
	if errors.As(err, &retry) {
		st := status.New(codes.Aborted, retry.Reason)
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry.After)}); err == nil {
			st = with
		}
		return st.Err()
	}
	for code, meaning := range meanings() {
		if errors.Is(err, meaning) {
			return status.Error(code, err.Error())
		}
	}
	return status.Error(codes.Aborted, err.Error())
}

// ErrorFromWire returns the meaning of a storage's error; nil for an error that says nothing of
// its own.
func ErrorFromWire(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	if meaning := meanings()[st.Code()]; meaning != nil {
		return &meant{text: st.Message(), meaning: meaning}
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return &RetryError{Reason: st.Message(), After: r.GetRetryDelay().AsDuration()}
		}
	}
	return nil
}

// meant is an error from the other end of a connection, in its own words.
type meant struct {
	text    string
	meaning error
}

// Error implements error.
func (e *meant) Error() string {
	if e.text == "" {
		return e.meaning.Error()
	}
	return e.text
}

// Unwrap returns what it means.
func (e *meant) Unwrap() error { return e.meaning }

// servicesToWire says what is offered.
func servicesToWire(s Services) *pluginv1.StorageServices {
	return &pluginv1.StorageServices{
		Driver: s.Driver, TopologyKeys: s.TopologyKeys, Provisioner: s.Provisioner != nil, Expander: s.Expander != nil,
		Attacher: s.Attacher != nil, Mounter: s.Mounter != nil, Stats: s.StatsReader != nil,
	}
}

// CapabilityToWire converts a capability.
func CapabilityToWire(c Capability) *pluginv1.VolumeCapability {
	out := &pluginv1.VolumeCapability{VolumeMode: string(c.VolumeMode), FsType: c.FSType, MountOptions: c.MountOptions}
	for _, m := range c.AccessModes {
		out.AccessModes = append(out.AccessModes, string(m))
	}
	return out
}

func capabilityFromWire(c *pluginv1.VolumeCapability) Capability {
	out := Capability{VolumeMode: corev1.PersistentVolumeMode(c.GetVolumeMode()), FSType: c.GetFsType(), MountOptions: c.GetMountOptions()}
	for _, m := range c.GetAccessModes() {
		out.AccessModes = append(out.AccessModes, corev1.PersistentVolumeAccessMode(m))
	}
	return out
}

// TopologiesToWire converts places.
func TopologiesToWire(in []Topology) []*pluginv1.Topology {
	var out []*pluginv1.Topology
	for _, t := range in {
		out = append(out, &pluginv1.Topology{Segments: t})
	}
	return out
}

func topologiesFromWire(in []*pluginv1.Topology) []Topology {
	var out []Topology
	for _, t := range in {
		out = append(out, t.GetSegments())
	}
	return out
}

// VolumeFromWire converts a volume, and refuses one that can't be.
func VolumeFromWire(v *pluginv1.Volume) (*Volume, error) {
	switch {
	case v.GetHandle() == "":
		return nil, errors.New("the storage returned a volume without a handle")
	case v.GetCapacityBytes() < 0:
		return nil, fmt.Errorf("the storage returned volume %q with a capacity of %d bytes", v.GetHandle(), v.GetCapacityBytes())
	case slices.ContainsFunc(v.GetTopologies(), func(t *pluginv1.Topology) bool { return len(t.GetSegments()) == 0 }):
		return nil, fmt.Errorf("the storage returned volume %q with a topology that has no segments", v.GetHandle())
	}
	return &Volume{
		Handle: v.GetHandle(), CapacityBytes: v.GetCapacityBytes(), Context: v.GetContext(),
		Topologies: topologiesFromWire(v.GetTopologies()),
	}, nil
}
