package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/pluginsource"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver/connect"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// pluginHostPrefix and a node's name are the user of the plugin host on that node.
const pluginHostPrefix = "system:plugin-host:"

// PluginHostUser is the user name of the plugin host on a node.
func PluginHostUser(node string) string { return pluginHostPrefix + node }

// pluginTypes are the types of the plugin host: Plugin.
func (s *Server) pluginTypes() resource.Bundle {
	var configured []string
	for _, p := range s.cfg.Plugins {
		configured = append(configured, p.Name)
	}
	return &host.Types{
		Configured: configured,
		Authorize: func(ctx context.Context, user resource.User, verb, group, resource, namespace, name string) (bool, error) {
			allowed, _, err := s.access.authorizer.Authorize(ctx, auth.Attributes{
				User: user, Verb: verb, Group: group, Version: "*", Resource: resource, Namespace: namespace, Name: name,
			})
			return allowed, err
		},
		Count: s.countObjects,
		Nodes: host.NodeHosts{Group: PluginHostsGroup, UserPrefix: pluginHostPrefix},
	}
}

// newPluginHost makes the host of this server's plugins, with those in it that the
// configuration names, and those that objects named when it last ran. Types that they had
// then are served from here on.
func (s *Server) newPluginHost(admin *rest.Config) (*host.Host, error) {
	plugins, err := firstparty.PublishRootCA(s.cfg.Plugins, s.authority.CAPEM())
	if err != nil {
		return nil, err
	}
	specs, err := firstparty.Specs(s.withoutKeyManager(plugins), false)
	if err != nil {
		return nil, err
	}
	var h *host.Host
	fetcher, err := pluginsource.New(s.cfg.PluginTrust, s.dir, func() []string { return h.InUse() }, s.log)
	if err != nil {
		return nil, err
	}
	h, err = host.New(host.Config{
		Dir: s.dir.Host("server"), SocketPath: s.dir.APISocket(), Tokens: s.tokens,
		Client: admin, ManagePermissions: true, Version: release.Version, Logger: s.log,
		Metrics: s.metrics, Hide: s.hidden(), Users: firstparty.GuestUsers(s.cfg.Guests), Limits: firstparty.GuestLimits(s.cfg.Guests), Fetcher: fetcher, Own: firstparty.Own,
		OnBundle: s.installBundle, OnTypesGone: s.removeTypes, TypeOwner: s.typeOwner,
		CountObjects: s.countObjects, Purge: s.purge,
		OnAPIService: s.offerAPIService, Standby: true,
		Admission: s.plugins, Authenticators: s.access.plugins.authenticators, Authorizers: s.access.plugins.authorizers,
	})
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		if err := h.Add(spec); err != nil {
			return nil, err
		}
	}
	h.Recall()
	s.pluginHost.Store(h)
	return h, nil
}

// permitOnNodes grants plugins of the configuration that run on nodes their permissions.
func (s *Server) permitOnNodes(ctx context.Context, h *host.Host) {
	specs, err := firstparty.Specs(s.cfg.Plugins, true)
	if err != nil {
		s.log.Error("permissions of plugins on nodes", "error", err)
		return
	}
	h.PermitOnNodes(ctx, specs)
}

// installBundle takes the resource types of a plugin.
func (s *Server) installBundle(name string, b resource.Bundle) error {
	s.log.Info("resource types of a plugin", "plugin", name)
	return s.api.Install(b)
}

// removeTypes takes types away that a plugin no longer has.
func (s *Server) removeTypes(name string, types []schema.GroupResource) error {
	s.log.Info("resource types are served no longer", "plugin", name, "types", types)
	for _, gr := range types {
		s.api.Uninstall(gr, "plugin:"+name)
	}
	return nil
}

// typeOwner says whose a type is.
func (s *Server) typeOwner(gr schema.GroupResource) (string, bool) {
	d, ok := s.registry.Snapshot().Definition(gr)
	if !ok {
		return "", false
	}
	return d.Source, true
}

func (s *Server) countObjects(_ context.Context, gr schema.GroupResource) (int, error) {
	bucket := gr.String()
	if d, ok := s.registry.Snapshot().Definition(gr); ok {
		bucket = registry.Bucket(d)
	}
	return s.store.Count(store.Key(bucket + "/")), nil
}

// purge deletes all objects of a type.
func (s *Server) purge(ctx context.Context, gr schema.GroupResource) (int, error) {
	t, ok := s.registry.Snapshot().Storage(gr)
	if !ok {
		return 0, nil
	}
	return s.api.Purge(ctx, t.GVR, "plugin-removal")
}

// servePluginLog answers requests for plugins/log; for one on a node its agent does.
func (s *Server) servePluginLog(w http.ResponseWriter, r *http.Request, a auth.Attributes, nodes *connect.Handler) {
	if plugin, node, onNode := strings.Cut(a.Name, "."); onNode && !strings.Contains(node, ":") {
		nodes.Serve(w, r, connect.Request{Resource: "nodes", Subresource: "proxy", Name: node, Path: "/plugins/" + plugin + "/log"})
		return
	}
	h := s.pluginHost.Load()
	err := errors.New("the plugin host is starting")
	if h != nil {
		err = h.ServeLog(w, r, a.Name)
	}
	if err != nil {
		s.log.Debug("log of a plugin", "plugin", a.Name, "error", err)
		writeStatus(w, err)
	}
}

// writeStatus answers with an error as the API does.
func writeStatus(w http.ResponseWriter, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewServiceUnavailable(err.Error())
	}
	status := known.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status) // the client has left, at the worst
}
