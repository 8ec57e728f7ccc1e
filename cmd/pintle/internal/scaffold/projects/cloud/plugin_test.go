package main

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

const settings = `{"zone":"z","loadBalancers":"192.0.2.0/30","machines":[
	{"name":"a","type":"large","address":"10.0.0.1"},{"name":"b","off":true}]}`

func open(t *testing.T, dir string) cloud.Services {
	t.Helper()
	p := &Plugin{}
	if err := p.Configure(t.Context(), []byte(settings)); err != nil {
		t.Fatal(err)
	}
	s, err := p.Open(t.Context(), plugin.Env{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The suite of plugintest holds the plugin to what every cluster relies on.
func TestCloudContract(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	plugintest.RunCloud(t, plugintest.CloudCase{
		Case:    plugintest.Case{Settings: []byte(settings)},
		New:     func() cloud.Cloud { return &Plugin{} },
		Node:    node,
		Service: service("1"),
		Nodes:   []*corev1.Node{node},
	})
}

func TestInstances(t *testing.T) {
	s := open(t, t.TempDir())
	for _, tc := range []struct {
		name, id     string
		exists, down bool
	}{
		{"a", "", true, false},
		{"other", "gizmo-name://a", true, false},
		{"b", "", true, true},
		{"c", "", false, false},
		{"a", "gizmo-name://c", false, false},
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: tc.name}, Spec: corev1.NodeSpec{ProviderID: tc.id}}
		exists, err := s.Instances.InstanceExists(t.Context(), node)
		if err != nil || exists != tc.exists {
			t.Errorf("%s %s: exists %v, %v", tc.name, tc.id, exists, err)
		}
		down, err := s.Instances.InstanceShutdown(t.Context(), node)
		if err != nil || down != tc.down {
			t.Errorf("%s %s: shut down %v, %v", tc.name, tc.id, down, err)
		}
		meta, err := s.Instances.InstanceMetadata(t.Context(), node)
		if tc.exists == errors.Is(err, cloud.ErrInstanceNotFound) {
			t.Errorf("%s %s: %+v, %v", tc.name, tc.id, meta, err)
		}
	}
	meta, err := s.Instances.InstanceMetadata(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	if err != nil || meta.ProviderID != "gizmo-name://a" || meta.InstanceType != "large" || meta.Zone != "z" || meta.Addresses[0].Address != "10.0.0.1" {
		t.Errorf("%+v, %v", meta, err)
	}
}

func TestLoadBalancers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ensure := func(uid, want string) {
		t.Helper()
		st, err := s.LoadBalancers.EnsureLoadBalancer(t.Context(), "", service(uid), nil)
		if err != nil || st.Ingress[0].IP != want {
			t.Errorf("service %s: %+v, %v, want %s", uid, st, err, want)
		}
	}
	ensure("1", "192.0.2.1")
	ensure("2", "192.0.2.2")
	ensure("1", "192.0.2.1")
	s = open(t, dir) // as after a restart
	ensure("2", "192.0.2.2")
	ensure("3", "192.0.2.3")
	if _, err := s.LoadBalancers.EnsureLoadBalancer(t.Context(), "", service("4"), nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("one too many: %v", err)
	}
	for range 2 {
		if err := s.LoadBalancers.DeleteLoadBalancer(t.Context(), "", service("1")); err != nil {
			t.Error(err)
		}
	}
	if st, err := s.LoadBalancers.GetLoadBalancer(t.Context(), "", service("1")); st != nil || err != nil {
		t.Errorf("deleted: %+v, %v", st, err)
	}
	ensure("4", "192.0.2.1")
}

func service(uid string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s" + uid, UID: types.UID(uid)}}
}

func TestSettingsThatAreNoGood(t *testing.T) {
	for text, want := range map[string]string{
		`{"loadBalancers":"all"}`: "settings.loadBalancers",
		`{"loadBalancers":"192.0.2.0/28","machines":[{"name":"a","address":"b"}]}`: "settings.machines[0].address",
	} {
		if err := (&Plugin{}).Configure(t.Context(), []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
