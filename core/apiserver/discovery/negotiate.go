package discovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"sigs.k8s.io/yaml"
)

// format of a document.
type format string

const (
	formatJSON     format = "application/json"
	formatYAML     format = "application/yaml"
	formatProtobuf format = "application/vnd.kubernetes.protobuf"
)

// accept is what a client gets.
type accept struct {
	format     format
	aggregated bool
}

// negotiate chooses by a client's Accept headers; false where nothing in them is served.
// Aggregated documents exist for the two roots.
func negotiate(headers []string, root bool) (accept, bool) {
	header := strings.Join(headers, ",")
	if header == "" {
		return accept{format: formatJSON}, true
	}
	for _, a := range goautoneg.ParseAccept(header) {
		var f format
		switch {
		case a.Type == "*", a.Type == "application" && (a.SubType == "*" || a.SubType == "json"):
			f = formatJSON
		case a.Type == "application" && a.SubType == "yaml":
			f = formatYAML
		case a.Type == "application" && a.SubType == "vnd.kubernetes.protobuf":
			f = formatProtobuf
		default:
			continue
		}
		as, converted := a.Params["as"]
		if !converted {
			return accept{format: f}, true
		}
		if root && as == "APIGroupDiscoveryList" && a.Params["g"] == apidiscoveryv2.GroupName && a.Params["v"] == "v2" {
			return accept{f, true}, true
		}
	}
	return accept{}, false
}

// document is one encoded answer.
type document struct {
	contentType string
	etag        string
	body        []byte
}

func encode(o runtime.Object, a accept) (*document, error) {
	d := &document{contentType: string(a.format)}
	if a.aggregated {
		d.contentType += ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	}
	var err error
	switch a.format {
	case formatProtobuf:
		var b bytes.Buffer
		err = protobuf.NewSerializer(nil, nil).Encode(o, &b)
		d.body = b.Bytes()
	default:
		d.body, err = json.Marshal(o)
		if err == nil && a.format == formatYAML {
			d.body, err = yaml.JSONToYAML(d.body)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("encode discovery as %s: %w", a.format, err)
	}
	sum := sha256.Sum256(d.body)
	d.etag = `"` + hex.EncodeToString(sum[:]) + `"`
	return d, nil
}

func (d *document) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", d.etag)
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", "public")
	if matches(r.Header.Values("If-None-Match"), d.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", d.contentType)
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.body) // the client has gone; there is nobody to tell
	}
}

func matches(headers []string, etag string) bool {
	for _, h := range headers {
		for tag := range strings.SplitSeq(h, ",") {
			if tag = strings.TrimSpace(tag); tag == etag || tag == "*" || tag == "W/"+etag {
				return true
			}
		}
	}
	return false
}
