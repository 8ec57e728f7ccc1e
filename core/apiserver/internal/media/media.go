// Package media negotiates the format of requests and answers, as Kubernetes' API
// servers do: JSON, YAML and protobuf, and objects as tables or as metadata alone.
//
// It must not know kinds, nor how anything is encoded.
package media

import (
	"mime"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Format is how a value is written.
type Format uint8

// The formats.
const (
	JSON Format = iota
	YAML
	Protobuf
)

// The content types of the formats.
const (
	TypeJSON     = "application/json"
	TypeYAML     = "application/yaml"
	TypeProtobuf = "application/vnd.kubernetes.protobuf"
)

// View is what of an object is wanted.
type View uint8

// The views.
const (
	Full View = iota
	Table
	Metadata
)

// Accept is a negotiated answer.
type Accept struct {
	Format Format
	View   View
	// Version of meta.k8s.io for views: "v1" or "v1beta1".
	Version string
	// Pretty asks for indented JSON.
	Pretty bool
}

// ContentType of an answer.
func (a Accept) ContentType() string {
	switch a.Format {
	case YAML:
		return TypeYAML
	case Protobuf:
		return TypeProtobuf
	}
	return TypeJSON
}

// Offer says what can be answered.
type Offer struct {
	Protobuf bool
	// Views are allowed: false for answers that are no objects of a resource.
	Views bool
	// Builtin is set for upstream's own kinds, whose router knows no application/*.
	Builtin bool
	// Stream is set for watches, which have no YAML.
	Stream bool
}

type clause struct {
	format      Format
	any         bool
	partial     bool // application/*
	view        View
	unknownView bool
	version     string
	pretty      bool
	quality     float64
}

var parsed struct {
	sync.RWMutex
	m map[string][]clause
}

// maxParsed bounds how many different Accept headers are kept in parsed form.
const maxParsed = 256

func clauses(header string) []clause {
	parsed.RLock()
	c, ok := parsed.m[header]
	parsed.RUnlock()
	if ok {
		return c
	}
	c = parse(header)
	if len(header) < 512 {
		parsed.Lock()
		if parsed.m == nil || len(parsed.m) >= maxParsed {
			parsed.m = map[string][]clause{}
		}
		parsed.m[strings.Clone(header)] = c
		parsed.Unlock()
	}
	return c
}

func parse(header string) []clause {
	var out []clause
	for _, part := range strings.Split(header, ",") {
		name, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		c := clause{quality: 1}
		switch name {
		case "*/*", "application/*":
			c.any, c.partial = true, name == "application/*"
		case TypeJSON:
		case TypeYAML:
			c.format = YAML
		case TypeProtobuf:
			c.format = Protobuf
		default:
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			c.quality = q
		}
		c.pretty = params["pretty"] == "1"
		if as := params["as"]; as != "" {
			c.version = params["v"]
			switch {
			case params["g"] != "meta.k8s.io":
				c.unknownView = true
			case as == "Table" && (c.version == "v1" || c.version == "v1beta1"):
				c.view = Table
			case (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") && (c.version == "v1" || c.version == "v1beta1"):
				c.view = Metadata
			default:
				c.unknownView = true
			}
		}
		out = append(out, c)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].quality > out[j].quality })
	return out
}

// Negotiate picks an answer for an Accept header; false means 406.
func Negotiate(header string, o Offer) (Accept, bool) {
	if header == "" || header == TypeJSON || header == "*/*" {
		return Accept{}, true
	}
	for _, c := range clauses(header) {
		switch {
		case c.unknownView,
			c.view != Full && !o.Views,
			c.format == YAML && o.Stream,
			c.format == Protobuf && c.view != Metadata && !o.Protobuf,
			c.format == Protobuf && c.view == Table,
			c.partial && o.Builtin:
			continue
		}
		return Accept{Format: c.format, View: c.view, Version: c.version, Pretty: c.pretty}, true
	}
	return Accept{}, false
}

// Known reports whether a header names any type that something can be answered in.
func Known(header string) bool {
	for _, c := range clauses(header) {
		if !c.any || !c.partial {
			return true
		}
	}
	return false
}

// Body returns the format of a request's body; false means 415.
func Body(contentType string) (Format, bool) {
	if contentType == "" || contentType == TypeJSON {
		return JSON, true
	}
	name, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return JSON, false
	}
	switch name {
	case TypeJSON:
		return JSON, true
	case TypeYAML:
		return YAML, true
	case TypeProtobuf:
		return Protobuf, true
	}
	return JSON, false
}
