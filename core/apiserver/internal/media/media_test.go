package media

import "testing"

func TestNegotiate(t *testing.T) {
	objects := Offer{Protobuf: true, Views: true}
	custom := Offer{Views: true}
	for _, c := range []struct {
		header string
		offer  Offer
		want   Accept
		ok     bool
	}{
		{"", objects, Accept{}, true},
		{"*/*", objects, Accept{}, true},
		{"application/json", objects, Accept{}, true},
		{"text/html, */*;q=0.1", objects, Accept{}, true},
		{"text/html", objects, Accept{}, false},
		{"application/vnd.kubernetes.protobuf, application/json", objects, Accept{Format: Protobuf}, true},
		{"application/vnd.kubernetes.protobuf, application/json", custom, Accept{}, true},
		{"application/vnd.kubernetes.protobuf", custom, Accept{}, false},
		{"application/json;q=0.1, application/yaml", objects, Accept{Format: YAML}, true},
		{"application/yaml, application/json", Offer{Stream: true}, Accept{}, true},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", objects, Accept{View: Table, Version: "v1"}, true},
		{"application/json;as=Table;v=v2;g=meta.k8s.io,application/json", objects, Accept{}, true},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Offer{}, Accept{}, true},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", custom, Accept{Format: Protobuf, View: Metadata, Version: "v1"}, true},
		{"application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1", objects, Accept{View: Table, Version: "v1"}, true},
	} {
		if got, ok := Negotiate(c.header, c.offer); got != c.want || ok != c.ok {
			t.Errorf("%q for %+v: %+v %t", c.header, c.offer, got, ok)
		}
	}
}
