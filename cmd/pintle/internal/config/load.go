package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/configs"
)

// EnvPrefix of the variables that override keys of the file: api.listen is
// PINTLE_API_LISTEN.
const EnvPrefix = "PINTLE"

// Load reads a configuration: the defaults, then the file (a path, or the name of an
// embedded profile such as "dev"), then the environment, then the flags that were set and
// carry a key's name. An unknown key is an error that names its path.
func Load(file string, flags *pflag.FlagSet) (Config, error) {
	raw, base, err := read(file)
	if err != nil {
		return Config{}, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s is not valid YAML: %w", file, err)
	}
	if len(bytes.TrimSpace(asJSON)) == 0 || string(bytes.TrimSpace(asJSON)) == "null" {
		asJSON = []byte("{}")
	}
	fromFile := Default()
	strict, err := kjson.UnmarshalStrict(asJSON, &fromFile)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	if len(strict) > 0 {
		return Config{}, fmt.Errorf("configuration %s: %w (see configs/ for all keys)", file, errors.Join(strict...))
	}
	cfg, err := overlay(asJSON, fromFile, flags)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	for i := range cfg.Plugins {
		if err := cfg.Plugins[i].resolve(fmt.Sprintf("plugins[%d]", i), base); err != nil {
			return Config{}, fmt.Errorf("configuration %s: %w", file, err)
		}
		if p := &cfg.Plugins[i]; p.Path != "" && !filepath.IsAbs(p.Path) {
			if p.Path, err = filepath.Abs(filepath.Join(base, p.Path)); err != nil {
				return Config{}, fmt.Errorf("configuration %s: plugins[%d].path: %w", file, i, err)
			}
		}
	}
	if err := cfg.API.resolve(base); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	if err := cfg.Store.Encryption.resolve(base); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	if err := cfg.Backup.resolve(base); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	if err := cfg.PluginTrust.resolve(base); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	if err := cfg.Validate(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", file, err)
	}
	return cfg, nil
}

func read(file string) (raw []byte, base string, err error) {
	if !strings.ContainsAny(file, "/.") {
		raw, err := configs.Files.ReadFile(file + ".yaml")
		if err != nil {
			return nil, "", fmt.Errorf("there is no profile %q; give a path, or one of %s", file, strings.Join(configs.Profiles(), ", "))
		}
		return raw, ".", nil
	}
	raw, err = os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("reading the configuration: %w", err)
	}
	return raw, filepath.Dir(file), nil
}

// overlay puts the environment and flags over the file with viper. Viper folds the case of
// keys, so what has keys of the user's (plugins, labels) is kept from it and taken from fromFile.
func overlay(asJSON []byte, fromFile Config, flags *pflag.FlagSet) (Config, error) {
	var file map[string]any
	if err := json.Unmarshal(asJSON, &file); err != nil {
		return Config{}, err
	}
	delete(file, "plugins")
	if node, ok := file["node"].(map[string]any); ok {
		delete(node, "labels")
	}
	v := viper.New()
	if err := v.MergeConfigMap(file); err != nil {
		return Config{}, err
	}
	v.SetEnvPrefix(EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	for _, key := range scalarKeys(reflect.TypeFor[Config](), "") {
		if err := v.BindEnv(key); err != nil {
			return Config{}, fmt.Errorf("%s: %w", key, err)
		}
		if flags == nil {
			continue
		}
		if f := flags.Lookup(key); f != nil && f.Changed {
			if err := v.BindPFlag(key, f); err != nil {
				return Config{}, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	cfg := Default()
	err := v.Unmarshal(&cfg, func(dc *mapstructure.DecoderConfig) {
		dc.TagName, dc.Squash = "json", true
		dc.DecodeHook = mapstructure.ComposeDecodeHookFunc(
			textHook, mapstructure.StringToSliceHookFunc(","))
	})
	if err != nil {
		return Config{}, err
	}
	cfg.Plugins, cfg.Node.Labels = fromFile.Plugins, fromFile.Node.Labels
	return cfg, nil
}

// textHook decodes strings and numbers into types that parse text.
func textHook(from, to reflect.Type, data any) (any, error) {
	if from.Kind() == reflect.Map || !reflect.PointerTo(to).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return data, nil
	}
	out := reflect.New(to)
	if err := out.Interface().(encoding.TextUnmarshaler).UnmarshalText(fmt.Append(nil, data)); err != nil {
		return nil, err
	}
	return out.Elem().Interface(), nil
}

// scalarKeys lists the dotted keys of all values that can be said in one word or a list
// of words.
func scalarKeys(t reflect.Type, prefix string) []string {
	var keys []string
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("json")
		switch {
		case f.Anonymous:
			keys = append(keys, scalarKeys(f.Type, prefix)...)
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, scalarKeys(f.Type, key+".")...)
		case f.Type.Kind() == reflect.Map, f.Type == reflect.TypeFor[[]Plugin]():
		default:
			keys = append(keys, key)
		}
	}
	return keys
}
