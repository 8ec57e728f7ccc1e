package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/internal/tunnel"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// APIService is a plugin that serves versions of API groups, on the other end of a connection.
type APIService struct {
	c      *Client
	client pluginv1.APIServiceClient
}

// APIService returns the plugin as an API service, where it is one.
func (c *Client) APIService() (*APIService, bool) {
	return &APIService{c: c, client: pluginv1.NewAPIServiceClient(c.conn)}, c.offers(protocol.PointAPIService)
}

// Open lets the plugin serve until ctx is done, and returns what it serves. gone is closed when
// it no longer does.
func (s *APIService) Open(ctx context.Context) (gvs []apiservice.GroupVersion, gone <-chan struct{}, err error) {
	env, err := s.c.environment()
	if err != nil {
		return nil, nil, err
	}
	stream, err := s.client.Open(ctx, &pluginv1.OpenAPIServiceRequest{Environment: env})
	if err != nil {
		return nil, nil, unwire(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, nil, opening(err)
	}
	for _, gv := range first.GetGroupVersions() {
		gvs = append(gvs, apiservice.GroupVersion{
			Group: gv.GetGroup(), Version: gv.GetVersion(), GroupPriority: gv.GetGroupPriority(), VersionPriority: gv.GetVersionPriority(),
		})
	}
	if err := CheckGroupVersions(gvs); err != nil {
		return nil, nil, err
	}
	return gvs, ended(stream.Recv), nil
}

// opening words the error of a stream that ended before its answer.
func opening(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the plugin ended the call without an answer")
	}
	return unwire(err)
}

// ended returns a channel that is closed when a stream ends.
func ended[T any](recv func() (T, error)) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, err := recv(); err != nil {
				return
			}
		}
	}()
	return gone
}

// CheckGroupVersions says what is wrong with what an API service serves.
func CheckGroupVersions(gvs []apiservice.GroupVersion) error {
	if len(gvs) == 0 {
		return errors.New("it serves no group version")
	}
	seen := map[string]bool{}
	for _, gv := range gvs {
		name := gv.Group + "/" + gv.Version
		if msgs := validation.IsDNS1123Subdomain(gv.Group); len(msgs) > 0 {
			return fmt.Errorf("group version %q: group: %s", name, msgs[0])
		}
		if msgs := validation.IsDNS1035Label(gv.Version); len(msgs) > 0 {
			return fmt.Errorf("group version %q: version: %s", name, msgs[0])
		}
		if seen[name] {
			return fmt.Errorf("group version %q is there twice", name)
		}
		seen[name] = true
		if gv.GroupPriority < 0 || gv.GroupPriority > 20000 {
			return fmt.Errorf("group version %q: group priority %d: must be 0 to 20000", name, gv.GroupPriority)
		}
		if gv.VersionPriority < 0 || gv.VersionPriority > 1000 {
			return fmt.Errorf("group version %q: version priority %d: must be 0 to 1000", name, gv.VersionPriority)
		}
	}
	return nil
}

// Dial opens a connection to the plugin's handler, on which HTTP/1.1 is spoken. ctx bounds only
// the opening.
func (s *APIService) Dial(ctx context.Context) (net.Conn, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	stream, err := s.client.Connect(life)
	if !stop() && err == nil {
		err = status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		cancel()
		if status.Code(err) == codes.Canceled && ctx.Err() == nil {
			return nil, fmt.Errorf("the plugin's process cannot be reached: %w", err)
		}
		return nil, unwire(err)
	}
	near, far := net.Pipe()
	go tunnel.Join(stream, far, cancel)
	return near, nil
}
