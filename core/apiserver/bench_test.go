package apiserver_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
)

// benchPod is of the size that controllers make.
const benchPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"NAME","namespace":"default","labels":{"app":"web","tier":"front","pod-template-hash":"5d8f7c9b6"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d8f7c9b6","uid":"4f8e1f5e-6d0a-4a70-a6d6-111111111111","controller":true,"blockOwnerDeletion":true}]},
"spec":{"nodeName":"n1","containers":[{"name":"web","image":"registry.example/web:1","env":[{"name":"A","value":"1"},{"name":"B","value":"2"},{"name":"C","value":"3"}],"resources":{"limits":{"cpu":"100m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"ports":[{"containerPort":8080,"protocol":"TCP"}]},
{"name":"side","image":"registry.example/side:1","env":[{"name":"A","value":"1"}],"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}`

// sink is a response that is thrown away.
type sink struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return s.body.Write(b) }
func (s *sink) WriteHeader(code int)        { s.code = code }

func call(b *testing.B, s *apiserver.Server, want int, method, path, contentType, body string) []byte {
	u, err := url.Parse(path)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.URL = u
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := &sink{header: http.Header{}, code: 200}
	s.ServeHTTP(w, r)
	if w.code != want {
		b.Fatalf("%s %s: %d %s", method, path, w.code, w.body.Bytes())
	}
	return w.body.Bytes()
}

func benchServer(b *testing.B, n int) *apiserver.Server {
	s := newServer(b).API
	call(b, s, 201, "POST", "/api/v1/namespaces", "application/json", `{"metadata":{"name":"default"}}`)
	for i := range n {
		call(b, s, 201, "POST", pods, "application/json", strings.Replace(benchPod, "NAME", fmt.Sprintf("p%d", i), 1))
	}
	b.ResetTimer()
	b.ReportAllocs()
	return s
}

func BenchmarkCreate(b *testing.B) {
	s := benchServer(b, 0)
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			call(b, s, 201, "POST", pods, "application/json", strings.Replace(benchPod, "NAME", fmt.Sprintf("x%d", n.Add(1)), 1))
		}
	})
}

// BenchmarkCreateDryRun is a create without the store's part.
func BenchmarkCreateDryRun(b *testing.B) {
	s := benchServer(b, 0)
	body := strings.Replace(benchPod, "NAME", "x", 1)
	for b.Loop() {
		call(b, s, 201, "POST", pods+"?dryRun=All", "application/json", body)
	}
}

func BenchmarkGet(b *testing.B) {
	s := benchServer(b, 1)
	for b.Loop() {
		call(b, s, 200, "GET", pods+"/p0", "", "")
	}
}

func BenchmarkUpdateDryRun(b *testing.B) {
	s := benchServer(b, 1)
	body := strings.Replace(string(call(b, s, 200, "GET", pods+"/p0", "", "")), `"tier":"front"`, `"tier":"back"`, 1)
	for b.Loop() {
		call(b, s, 200, "PUT", pods+"/p0?dryRun=All", "application/json", body)
	}
}

func BenchmarkMergePatchDryRun(b *testing.B) {
	s := benchServer(b, 1)
	for b.Loop() {
		call(b, s, 200, "PATCH", pods+"/p0?dryRun=All", "application/merge-patch+json", `{"metadata":{"labels":{"x":"y"}}}`)
	}
}

func BenchmarkStrategicPatchDryRun(b *testing.B) {
	s := benchServer(b, 1)
	for b.Loop() {
		call(b, s, 200, "PATCH", pods+"/p0?dryRun=All", "application/strategic-merge-patch+json", `{"spec":{"containers":[{"name":"web","image":"registry.example/web:2"}]}}`)
	}
}

func BenchmarkApplyDryRun(b *testing.B) {
	s := benchServer(b, 1)
	for b.Loop() {
		call(b, s, 200, "PATCH", pods+"/p0?dryRun=All&fieldManager=x&force=true", "application/apply-patch+yaml", `{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"x":"y"}}}`)
	}
}

func BenchmarkList1000(b *testing.B) {
	s := benchServer(b, 1000)
	for b.Loop() {
		b.SetBytes(int64(len(call(b, s, 200, "GET", pods, "", ""))))
	}
}

func BenchmarkListSelected1000(b *testing.B) {
	s := benchServer(b, 1000)
	for b.Loop() {
		call(b, s, 200, "GET", pods+"?labelSelector=app%3Dother&fieldSelector=spec.nodeName%3Dn1", "", "")
	}
}
