"""Writes the checksum of each ConfigMap that has a label into an annotation of it."""

import hashlib
import http.client
import json
import logging
import re
import threading

import kube
from sdk.proto.plugin.v1 import base_pb2

ANNOTATION = "example.dev/checksum"
CONFIG_MAPS = "/api/v1/configmaps"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30  # seconds, after failures
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

log = logging.getLogger("checksums")


class Plugin:
    name = "checksums"
    version = "0.1.0"
    description = "Checksums of ConfigMaps."
    permissions = [
        base_pb2.PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["list", "watch", "patch"])
    ]
    schema = {
        "type": "object",
        "properties": {
            "label": {
                "type": "string",
                "minLength": 1,
                "default": "example.dev/checksum",
                "description": "ConfigMaps with this label, whatever its value, get a checksum.",
            }
        },
    }

    def __init__(self):
        self._label = None

    def configure(self, settings):
        label = settings["label"]  # there is one: the host fills in the schema's defaults
        if not LABEL_KEY.fullmatch(label):
            raise ValueError(f"settings.label: Invalid value: {json.dumps(label)}: must be the key of a label")
        self._label = label

    def run(self, stop, env):
        api = kube.Client(env.api, f"pintle-plugin-{self.name}/{self.version}")
        _when_set(stop, api.close)
        log.info("looking after ConfigMaps with label %s", self._label)
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                version = self._all(api)
                pause = FIRST_PAUSE
                while True:
                    version = self._changes(api, version)
                    if stop.wait(FIRST_PAUSE):
                        return
            except kube.Error as e:
                if e.code == 410:  # what happened meanwhile is forgotten: look at all again
                    continue
                log.warning("%s; trying again in %s s", e, pause)
            except (OSError, http.client.HTTPException, ValueError) as e:
                if stop.is_set():
                    return
                log.warning("the API server: %r; trying again in %s s", e, pause)
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _all(self, api):
        """Looks at all there are. Returns the version from which to watch."""
        found = api.get(CONFIG_MAPS, labelSelector=self._label)
        for config_map in found.get("items") or []:
            self.reconcile(api, config_map)
        return found["metadata"]["resourceVersion"]

    def _changes(self, api, version):
        """Looks at what changes, until the watch ends. Returns the version it has come to."""
        for event in api.watch(CONFIG_MAPS, labelSelector=self._label, resourceVersion=version):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] in ("ADDED", "MODIFIED"):
                self.reconcile(api, event["object"])
        return version

    def reconcile(self, api, config_map):
        meta = config_map["metadata"]
        wanted = checksum(config_map)
        if (meta.get("annotations") or {}).get(ANNOTATION) == wanted or meta.get("deletionTimestamp"):
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/configmaps/{meta['name']}"
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"], "annotations": {ANNOTATION: wanted}}}
        try:
            api.merge_patch(path, patch)
        except kube.Error as e:
            if e.code not in (404, 409):  # gone, or changed: then there is an event to come
                raise
        else:
            log.info("%s/%s: %s", meta["namespace"], meta["name"], wanted)


def checksum(config_map):
    """SHA-256 of what a ConfigMap holds, in hexadecimal. The order of its keys does not matter."""
    held = {k: config_map.get(k) or {} for k in ("data", "binaryData")}
    return hashlib.sha256(json.dumps(held, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _when_set(event, call):
    def wait():
        event.wait()
        call()

    threading.Thread(target=wait, daemon=True).start()
