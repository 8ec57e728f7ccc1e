package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// made is a small dump, as the printer makes it.
func made() *dump {
	return &dump{
		Components: map[string]json.RawMessage{
			"io.k8s.api.core.v1.PodSpec": json.RawMessage(`{"description":"A pod.","type":"object","properties":{
				"dnsPolicy":{"description":"How.","type":"string"},"restartPolicy":{"type":"string"},"schedulerName":{"type":"string"},
				"securityContext":{"default":{},"$ref":"io.k8s.api.core.v1.X"},"terminationGracePeriodSeconds":{"type":"integer"}}}`),
			"io.k8s.apimachinery.pkg.util.intstr.IntOrString": json.RawMessage(`{"type":"string","format":"int-or-string"}`),
		},
		Always: map[string][]string{},
	}
}

const laid = `core.v1.PodSpec: {dnsPolicy: ClusterFirst, terminationGracePeriodSeconds: 30}`

func TestOutputIsDeterministic(t *testing.T) {
	var outputs [2][]byte
	for i := range outputs {
		components, err := convert(made(), []byte(laid), nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "data")
		if err := write(components, dir); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"core.v1/schema.json.gz", "core.v1/docs.json.gz", "apimachinery/schema.json.gz"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			outputs[i] = append(outputs[i], raw...)
		}
	}
	if !bytes.Equal(outputs[0], outputs[1]) {
		t.Error("two runs wrote different files")
	}
}

func TestConvert(t *testing.T) {
	components, err := convert(made(), []byte(laid), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := components["io.k8s.api.core.v1.PodSpec"]
	if got := string(spec.Properties["terminationGracePeriodSeconds"].Default); got != "30" {
		t.Errorf("default %s of the overlay", got)
	}
	if d := spec.Properties["securityContext"].Default; d != nil {
		t.Errorf("default %s of a field that Go leaves out", d)
	}
	if got := components["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]; !got.IntOrString || got.Type != "" {
		t.Errorf("int-or-string is %+v", got)
	}
	if d := describe(spec); d[""] != "A pod." || d["dnsPolicy"] != "How." || spec.Description != "" {
		t.Errorf("descriptions %v", d)
	}
}

func TestOverlayNamesWhatIsWrong(t *testing.T) {
	for overlay, want := range map[string]string{
		`core.v1.Nothing: {a: b}`: "overlay.yaml: core.v1.Nothing: no such component",
		`core.v1.PodSpec: {a: b}`: "overlay.yaml: core.v1.PodSpec.a: no such field",
	} {
		if _, err := convert(made(), []byte(overlay), nil); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
