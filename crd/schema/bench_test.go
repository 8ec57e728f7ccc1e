package schema_test

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// BenchmarkPodWrite is what a pod create spends here: a pod of 1.5 KB is normalized,
// given its defaults and validated.
func BenchmarkPodWrite(b *testing.B) {
	c := compileBuiltin(b, "io.k8s.api.core.v1.Pod", "Pod")
	ctx := context.Background()
	pods := make([]map[string]any, 64)
	original := podTree(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if i%len(pods) == 0 {
			b.StopTimer()
			for j := range pods {
				pods[j] = runtime.DeepCopyJSON(original)
			}
			b.StartTimer()
		}
		pod := pods[i%len(pods)]
		if _, err := c.Normalize(pod); err != nil {
			b.Fatal(err)
		}
		c.Default(pod)
		if errs := c.Validate(ctx, pod, nil); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkPodSteps(b *testing.B) {
	c := compileBuiltin(b, "io.k8s.api.core.v1.Pod", "Pod")
	pod := podTree(b)
	if _, err := c.Normalize(pod); err != nil {
		b.Fatal(err)
	}
	c.Default(pod)
	b.Run("normalize", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Normalize(pod)
		}
	})
	b.Run("default", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Default(pod)
		}
	})
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Validate(context.Background(), pod, nil)
		}
	})
}

func BenchmarkCompilePod(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compileBuiltin(b, "io.k8s.api.core.v1.Pod", "Pod")
	}
}

// BenchmarkCustomWrite is what a write of a custom resource of a dozen fields spends here.
func BenchmarkCustomWrite(b *testing.B) {
	c := compile(b, `{"type":"object","properties":{"spec":{"type":"object","required":["replicas"],"properties":{
		"replicas":{"type":"integer","minimum":0},"mode":{"type":"string","enum":["a","b"],"default":"a"},
		"image":{"type":"string","pattern":"^[a-z./:0-9-]+$","maxLength":200},
		"ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","properties":{
			"name":{"type":"string"},"port":{"type":"integer","format":"int32"},"target":{"x-kubernetes-int-or-string":true}}}},
		"labels":{"type":"object","additionalProperties":{"type":"string"}}}}}}`)
	object := tree(b, `{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"a","namespace":"b","labels":{"a":"b"}},
		"spec":{"replicas":3,"image":"registry.example.com/thing:1.0","ports":[{"name":"http","port":80,"target":"web"},{"name":"https","port":443,"target":8443}],"labels":{"x":"y","z":"w"}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Normalize(object); err != nil {
			b.Fatal(err)
		}
		c.Default(object)
		if errs := c.Validate(context.Background(), object, nil); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}
