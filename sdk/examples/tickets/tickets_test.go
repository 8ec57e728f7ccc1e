package main

import (
	"encoding/json"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
)

func ticket(version, spec string) map[string]any {
	return plugintest.Tree(`{"apiVersion":"events.example.dev/` + version + `","kind":"Ticket","metadata":{"name":"one","namespace":"default"},"spec":` + spec + `}`)
}

const (
	now    = `{"event":"concert","price":{"amount":"12.50","currency":"EUR"},"seat":"7a"}`
	before = `{"event":"concert","price":"12.50 EUR"}`
)

// The suite also converts each valid object to every other version and back.
func TestResourceContract(t *testing.T) {
	plugintest.RunResource(t, plugintest.ResourceCase{
		New:   func() plugintest.Bundle { return &tickets{} },
		Valid: []map[string]any{ticket("v1", now), ticket("v1beta1", before)},
		Invalid: map[string]map[string]any{
			"spec.price.amount": ticket("v1", `{"event":"concert","price":{"amount":"12","currency":"EUR"}}`),
			"spec.price":        ticket("v1beta1", `{"event":"concert","price":"free"}`),
			"spec.seats":        ticket("v1", `{"event":"concert","price":{"amount":"1.00","currency":"EUR"},"seats":"7a"}`),
		},
	})
}

// What clients see of it, in a whole core with the plugin behind gRPC.
func TestInACluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Plugins: []cluster.Plugin{{Impl: &tickets{}}}})
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	in := func(version string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: "tickets"}).Namespace("default")
	}
	spec := func(o *unstructured.Unstructured) string {
		t.Helper()
		text, err := json.Marshal(o.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ctx := t.Context()

	// Written in the old version, with its holder by default, and read in both.
	if _, err := in("v1beta1").Create(ctx, &unstructured.Unstructured{Object: ticket("v1beta1", before)}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := in("v1").Patch(ctx, "one", "application/merge-patch+json", []byte(`{"spec":{"holder":"mary","seat":"7a"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"v1":      `{"event":"concert","holder":"mary","price":{"amount":"12.50","currency":"EUR"},"seat":"7a"}`,
		"v1beta1": `{"event":"concert","holder":"mary","price":"12.50 EUR"}`,
	} {
		one, err := in(version).Get(ctx, "one", metav1.GetOptions{})
		if err != nil || spec(one) != want {
			t.Errorf("get in %s: %v, %v; want %s", version, one, err, want)
		}
		all, err := in(version).List(ctx, metav1.ListOptions{})
		if err != nil || len(all.Items) != 1 || spec(&all.Items[0]) != want {
			t.Errorf("list in %s: %v, %v; want %s", version, all, err, want)
		}
		from, err := in(version).Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := (<-from.ResultChan()).Object.(*unstructured.Unstructured); !ok || spec(o) != want {
			t.Errorf("watch in %s: %v", version, o)
		}
		from.Stop()
	}
	// Who changes it in the old version takes nothing away that this version does not have.
	if _, err := in("v1beta1").Patch(ctx, "one", "application/merge-patch+json", []byte(`{"spec":{"price":"14.00 EUR"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	one, err := in("v1").Get(ctx, "one", metav1.GetOptions{})
	if err != nil || spec(one) != `{"event":"concert","holder":"mary","price":{"amount":"14.00","currency":"EUR"},"seat":"7a"}` || len(one.GetAnnotations()) > 0 {
		t.Errorf("after a change in v1beta1: %v, %v", one, err)
	}
	// The verb.
	redemption := func(gate string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/v1", "kind": "Redemption", "metadata": map[string]any{"name": "one"}, "gate": gate,
		}}
	}
	if _, err := in("v1").Create(ctx, redemption(""), metav1.CreateOptions{}, redeem); !apierrors.IsBadRequest(err) {
		t.Errorf("redeemed nowhere: %v", err)
	}
	done, err := in("v1").Create(ctx, redemption("north"), metav1.CreateOptions{}, redeem)
	if err != nil || done.Object["holder"] != "mary" {
		t.Fatalf("redeem: %v, %v", done, err)
	}
	if _, err := in("v1beta1").Create(ctx, redemption("south"), metav1.CreateOptions{}, redeem); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "gate north") {
		t.Errorf("redeemed twice: %v", err)
	}
	// The rule.
	_, err = in("v1beta1").Patch(ctx, "one", "application/merge-patch+json", []byte(`{"spec":{"price":"1.00 EUR"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "the ticket was redeemed") {
		t.Errorf("a redeemed ticket was changed: %v", err)
	}
}
