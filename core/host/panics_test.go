package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// callable are the services of the contract that hosts call, but for the two by which a plugin
// gets to be healthy.
func callable() (out []protoreflect.ServiceDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage("pintle.plugin.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			switch s.Name() {
			case "Base", "Controller", "Peers": // the last is the hosts' own
			default:
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

// servePanicker serves a controller that also has each other call of the contract, and panics
// in it.
func servePanicker(name string) {
	c := &testController{base: base{name: name}}
	honest := controller.Point(c)
	serve.Serve(c, protocol.NewPoint(honest.Name, func(s grpc.ServiceRegistrar, h plugin.Host) {
		honest.Register(s, h)
		for _, service := range callable() {
			desc := &grpc.ServiceDesc{ServiceName: string(service.FullName())}
			for i := range service.Methods().Len() {
				m := service.Methods().Get(i)
				words := "I was asked to " + string(service.Name()) + "/" + string(m.Name())
				if !m.IsStreamingClient() && !m.IsStreamingServer() {
					desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(m.Name()), Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
						panic(words)
					}})
					continue
				}
				desc.Streams = append(desc.Streams, grpc.StreamDesc{
					StreamName: string(m.Name()), ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient(),
					Handler: func(any, grpc.ServerStream) error { panic(words) },
				})
			}
			s.RegisterService(desc, nil)
		}
	}))
}

// call makes a call of any kind.
func call(ctx context.Context, conn grpc.ClientConnInterface, method string, m protoreflect.MethodDescriptor) error {
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	_ = s.SendMsg(&emptypb.Empty{}) // what becomes of the stream is what it says next
	_ = s.CloseSend()
	return s.RecvMsg(&emptypb.Empty{})
}

// Whatever call a plugin panics in, its caller gets an error, the host goes on, the plugin
// comes back, and its status says of what it died.
func TestPanicInEachCallOfEachPoint(t *testing.T) {
	var specs []host.Spec
	name := func(s protoreflect.ServiceDescriptor) string { return strings.ToLower(string(s.Name())) }
	for _, s := range callable() {
		specs = append(specs, spec(t, "panics", name(s)))
	}
	r := start(t, func(c *host.Config) {
		c.Backoff = host.Backoff{Initial: time.Millisecond, Max: time.Millisecond, Open: 1000}
	}, specs...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	r.ctx = ctx
	var services sync.WaitGroup
	for _, s := range callable() {
		services.Go(func() {
			for i := range s.Methods().Len() {
				if err := r.panicIn(name(s), s, s.Methods().Get(i), i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	services.Wait()
}

// panicIn makes a plugin panic in a call, the nth of its life.
func (r *running) panicIn(plugin string, s protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor, n int) error {
	before, err := r.WaitFor(r.ctx, plugin, healthyAgain(n))
	if err != nil {
		return err
	}
	method := string(s.Name()) + "/" + string(m.Name())
	if err := call(r.ctx, r.Conn(plugin), "/"+string(s.FullName())+"/"+string(m.Name()), m); err == nil {
		return fmt.Errorf("%s: the caller got no error", method)
	}
	after, err := r.WaitFor(r.ctx, plugin, healthyAgain(n+1))
	if err != nil {
		return err
	}
	if after.PID == before.PID || !strings.Contains(after.Panic, "I was asked to "+method) || !strings.Contains(after.LastReason, "died of panic") {
		return fmt.Errorf("%s: process %d after %d, panic %q, reason %q", method, after.PID, before.PID, after.Panic, after.LastReason)
	}
	return nil
}
