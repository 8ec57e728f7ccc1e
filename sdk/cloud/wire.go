package cloud

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// errorToWire keeps what an error means.
func errorToWire(err error) error {
	if errors.Is(err, ErrInstanceNotFound) {
		return status.Error(codes.NotFound, err.Error())
	}
	st := status.New(codes.Aborted, err.Error())
	var retry *RetryError
	if errors.As(err, &retry) {
		st = status.New(codes.Aborted, retry.Reason)
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry.After)}); err == nil {
			st = with
		}
	}
	return st.Err()
}

// ErrorFromWire returns the meaning of a provider's error; nil for an error that says nothing of
// its own.
func ErrorFromWire(err error) error {
	st, ok := status.FromError(err)
	switch {
	case !ok:
		return nil
	case st.Code() == codes.NotFound:
		return fmt.Errorf("%w%s", ErrInstanceNotFound, beyond(st.Message(), ErrInstanceNotFound.Error()))
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return &RetryError{Reason: st.Message(), After: r.GetRetryDelay().AsDuration()}
		}
	}
	return nil
}

// beyond is what a text says beside what is known.
func beyond(text, known string) string {
	if text == known || text == "" {
		return ""
	}
	return " (" + text + ")"
}

// AddressesToWire converts addresses.
func AddressesToWire(in []corev1.NodeAddress) []*pluginv1.NodeAddress {
	out := make([]*pluginv1.NodeAddress, 0, len(in))
	for _, a := range in {
		out = append(out, &pluginv1.NodeAddress{Type: string(a.Type), Address: a.Address})
	}
	return out
}

// AddressesFromWire converts addresses.
func AddressesFromWire(in []*pluginv1.NodeAddress) []corev1.NodeAddress {
	var out []corev1.NodeAddress
	for _, a := range in {
		out = append(out, corev1.NodeAddress{Type: corev1.NodeAddressType(a.GetType()), Address: a.GetAddress()})
	}
	return out
}

// RouteToWire converts a route.
func RouteToWire(r Route) *pluginv1.CloudRoute {
	return &pluginv1.CloudRoute{
		Name: r.Name, TargetNode: r.TargetNode, DestinationCidr: r.DestinationCIDR, Blackhole: r.Blackhole,
		TargetAddresses: AddressesToWire(r.TargetAddresses), EnableNodeAddresses: r.EnableNodeAddresses,
	}
}

// RouteFromWire converts a route.
func RouteFromWire(r *pluginv1.CloudRoute) Route {
	return Route{
		Name: r.GetName(), TargetNode: r.GetTargetNode(), DestinationCIDR: r.GetDestinationCidr(), Blackhole: r.GetBlackhole(),
		TargetAddresses: AddressesFromWire(r.GetTargetAddresses()), EnableNodeAddresses: r.GetEnableNodeAddresses(),
	}
}

// decode reads an object.
func decode[T any](data []byte, what string) (*T, error) {
	out := new(T)
	if err := json.Unmarshal(data, out); err != nil {
		return nil, status.Error(codes.InvalidArgument, fmt.Sprintf("%s: %v", what, err))
	}
	return out, nil
}
