package controller

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata/fake"
)

var (
	widgets = schema.GroupVersionResource{Group: "example.dev", Version: "v1", Resource: "widgets"}
	maps    = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

func object(apiVersion, kind, name, uid string, owner *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid)},
	}
	if owner != nil {
		yes := true
		o.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID, Controller: &yes,
		}}
	}
	return o
}

func TestLoop(t *testing.T) {
	widget := object("example.dev/v1", "Widget", "w", "1", nil)
	stranger := object("example.dev/v1", "Widget", "w", "2", nil)
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := fake.NewSimpleMetadataClient(scheme, widget)
	seen := make(chan string)
	fail := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Loop{Resource: widgets, Owns: []schema.GroupVersionResource{maps}, Reconcile: func(ctx context.Context, key types.NamespacedName) error {
			select {
			case seen <- key.String():
			case <-ctx.Done():
			}
			select {
			case err := <-fail:
				return err
			default:
				return nil
			}
		}}.run(ctx, client, slog.New(slog.DiscardHandler))
	}()
	next := func(what string) {
		t.Helper()
		select {
		case key := <-seen:
			if key != "default/w" {
				t.Errorf("%s: reconciles %s", what, key)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing is reconciled", what)
		}
	}
	fail <- errors.New("not yet")
	next("a new object")
	next("after an error")

	tracker := client.Tracker()
	if err := tracker.Create(maps, object("v1", "ConfigMap", "stranger", "3", stranger), "default"); err != nil {
		t.Fatal(err)
	}
	owned := object("v1", "ConfigMap", "mine", "4", widget)
	if err := tracker.Create(maps, owned, "default"); err != nil {
		t.Fatal(err)
	}
	next("something that it owns has come")
	if err := tracker.Delete(maps, "default", "mine"); err != nil {
		t.Fatal(err)
	}
	next("something that it owns has gone")
	if err := tracker.Delete(widgets, "default", "w"); err != nil {
		t.Fatal(err)
	}
	next("the object has gone")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	select {
	case key := <-seen:
		t.Errorf("%s is reconciled, though nothing of its own has changed", key)
	default:
	}
}

func TestLoopNeedsWhatItNeeds(t *testing.T) {
	if err := (Loop{}).run(t.Context(), nil, nil); err == nil {
		t.Error("an empty loop runs")
	}
}
