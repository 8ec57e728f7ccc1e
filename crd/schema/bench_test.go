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
