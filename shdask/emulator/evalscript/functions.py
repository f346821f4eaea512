"""The functions, classes and constants every evalscript finds, as JavaScript.

Refuses to know scripts. They are properties of the global object, so that a script may declare the same names itself.
Source: documentation page "Evalscript: utility functions", with its examples.
"""

from __future__ import annotations

CONSTANTS = """
globalThis.Mosaicking = {SIMPLE: "SIMPLE", ORBIT: "ORBIT", TILE: "TILE"};
globalThis.SampleType = {
  INT8: "INT8", UINT8: "UINT8", INT16: "INT16", UINT16: "UINT16", FLOAT32: "FLOAT32", AUTO: "AUTO"
};
globalThis.JAVA_DOUBLE_MAX_VAL = 1.7976931348623157E308;
globalThis.blueRed = [
  [1, 0x000080], [0.875, 0x0000FF], [0.625, 0x00FFFF], [0.375, 0xFFFF00], [0.125, 0xFF0000], [0, 0x800000]
];
globalThis.redTemperature = [[1, 0x000000], [0.525, 0xAE0000], [0.3, 0xFF6E00], [0.25, 0xFF8600], [0, 0xFFFFFF]];
globalThis.greenWhite = [[1, 0x000000], [0.6, 0x006600], [0.3, 0x80B300], [0, 0xFFFFFF]];
globalThis.oceanColor = [
  [0, 147, 0, 108], [0.0471, 111, 0, 144], [0.098, 72, 0, 183], [0.149, 33, 0, 222], [0.2, 0, 10, 255],
  [0.2471, 0, 74, 255], [0.298, 0, 144, 255], [0.349, 0, 213, 255], [0.4, 0, 255, 215], [0.4471, 0, 255, 119],
  [0.498, 0, 255, 15], [0.549, 96, 255, 0], [0.6, 200, 255, 0], [0.6471, 255, 235, 0], [0.698, 255, 183, 0],
  [0.749, 255, 131, 0], [0.8, 255, 79, 0], [0.8471, 255, 31, 0], [0.898, 230, 0, 0], [0.949, 165, 0, 0],
  [1, 105, 0, 0]
].map(([value, red, green, blue]) => [value, [red / 255, green / 255, blue / 255]]);
"""

FUNCTIONS = """
globalThis.index = (x, y) => (x + y === 0 ? 0 : (x - y) / (x + y));
globalThis.inverse = (x) => (x === 0 ? 1.7976931348623157E308 : 1 / x);
globalThis.int2rgb = (color) => [(color >>> 16) & 255, (color >>> 8) & 255, color & 255];
globalThis.rgb2int = (color) => (color[0] << 16) + (color[1] << 8) + color[2];
globalThis.normalizeRGB = (color) => color.map((part) => part / 255);
globalThis.combine = (first, second, alpha) => first.map((part, i) => part * alpha + second[i] * (1 - alpha));
globalThis.valueMap = (value, intervals, values) => {
  if (!Array.isArray(intervals) || !Array.isArray(values)) return value;
  for (let i = 0; i < intervals.length; i++) if (value <= intervals[i]) return values[i];
  return values[values.length - 1];
};
globalThis.valueInterpolate = (value, intervals, values) => {
  if (!Array.isArray(intervals) || !Array.isArray(values)) return value;
  if (value <= intervals[0]) return values[0];
  for (let i = 1; i < intervals.length; i++) {
    if (value > intervals[i]) continue;
    const low = values[i - 1], high = values[i];
    const share = (value - intervals[i - 1]) / (intervals[i] - intervals[i - 1]);
    const between = (a, b) => a + (b - a) * share;
    return Array.isArray(low) ? low.map((part, k) => between(part, high[k])) : between(low, high);
  }
  return values[values.length - 1];
};
globalThis.colorBlend = globalThis.valueInterpolate;
"""

LANDSAT = """
globalThis.decodeL8C2Qa = (value) => {
  const bits = (from, mask) => (value >> from) & mask;
  return {
    fill: bits(0, 1), dilatedCloud: bits(1, 1), cirrus: bits(2, 1), cloud: bits(3, 1), cloudShadow: bits(4, 1),
    snow: bits(5, 1), clear: bits(6, 1), water: bits(7, 1), cloudConfidence: bits(8, 3),
    cloudShadowConfidence: bits(10, 3), snowIceConfidence: bits(12, 3), cirrusConfidence: bits(14, 3)
  };
};
"""

# Bits 31 to 21 by name, then one for the saturation of each of the 21 bands, the first the highest: the product's own
# "quality_flags" of OLCI level 1.
OLCI = """
globalThis.decodeS3OLCIQualityFlags = (value) => {
  const names = [
    "land", "coastline", "fresh_inland_water", "tidal_region", "bright", "straylight_risk", "invalid", "cosmetic",
    "duplicated", "sun_glint_risk", "dubious"
  ];
  for (let band = 1; band <= 21; band++) names.push(`saturatedB${String(band).padStart(2, "0")}`);
  return Object.fromEntries(names.map((name, i) => [name, (value >>> (31 - i)) & 1]));
};
"""

# As the documented examples have it, colours between two pairs are cut to whole 255ths by a ramp (127.5 -> 127) and
# rounded by a gradient (178.5 -> 179); a ramp made of a constant takes its colours in the order written and its values
# in ascending order, a gradient takes 1 - value.
COLORS = """
(function () {
  const whole = (color) => (Array.isArray(color) ? color.map((part) => part * 255) : int2rgb(color));
  const cut = (part) => Math.floor(part + 1e-9);
  const place = (pairs, value, round) => {
    const last = pairs.length - 1;
    let at = value > pairs[0][0] ? 1 : 0;
    while (at < last && value > pairs[at][0]) at++;
    if (at === 0 || value >= pairs[at][0]) return pairs[at][1].map((part) => part / 255);
    const [low, below] = pairs[at - 1], [high, above] = pairs[at];
    const share = (value - low) / (high - low);
    return above.map((part, i) => round(part * share + below[i] * (1 - share)) / 255);
  };

  globalThis.ColorMapVisualizer = class {
    constructor(valColPairs) {
      this.pairs = valColPairs.map(([value, color]) => [value, whole(color)]);
    }
    process(value) {
      let found = this.pairs[0][1];
      for (const [from, color] of this.pairs) {
        if (value < from) break;
        found = color;
      }
      return normalizeRGB(found);
    }
    static createDefaultColorMap() {
      return new this([
        [-1, 0x000000], [-0.2, 0xff0000], [-0.1, 0x9a0000], [0, 0x660000], [0.1, 0xffff33], [0.2, 0xcccc33],
        [0.3, 0x666600], [0.4, 0x33ffff], [0.5, 0x33cccc], [0.6, 0x006666], [0.7, 0x33ff33], [0.8, 0x33cc33],
        [0.9, 0x006600]
      ]);
    }
  };

  const ascending = (pairs) => {
    const values = pairs.map(([value]) => value).sort((a, b) => a - b);
    return pairs.map(([, color], i) => [values[i], color]);
  };
  globalThis.ColorRampVisualizer = class {
    constructor(ramps, minVal, maxVal) {
      const pairs = ramps.map(([value, color]) => [value, whole(color)]).sort((a, b) => a[0] - b[0]);
      const first = pairs[0][0], span = pairs[pairs.length - 1][0] - first || 1;
      const low = minVal === undefined ? first : minVal;
      const high = maxVal === undefined ? first + span : maxVal;
      const moved = low !== first || high !== first + span;
      this.pairs = pairs.map(([v, color]) => [moved ? low + ((v - first) / span) * (high - low) : v, color]);
    }
    process(value) {
      return place(this.pairs, value, cut);
    }
    inverse() {
      const sum = this.pairs[0][0] + this.pairs[this.pairs.length - 1][0];
      return new this.constructor(this.pairs.map(([value, color]) => [sum - value, normalizeRGB(color)]));
    }
    static createRedTemperature(minVal, maxVal) { return new this(ascending(redTemperature), minVal, maxVal); }
    static createWhiteGreen(minVal, maxVal) { return new this(ascending(greenWhite), minVal, maxVal); }
    static createBlueRed(minVal, maxVal) { return new this(ascending(blueRed), minVal, maxVal); }
    static createOceanColor(minVal, maxVal) { return new this(oceanColor, minVal, maxVal); }
  };

  globalThis.ColorGradientVisualizer = class {
    constructor(valColPairs, minVal = 0, maxVal = 1) {
      this.pairs = valColPairs.map(([value, color]) => [minVal * value + maxVal * (1 - value), whole(color)]);
    }
    process(value) {
      return place(this.pairs, value, Math.round);
    }
    static createRedTemperature(minVal, maxVal) { return new this(redTemperature, minVal, maxVal); }
    static createWhiteGreen(minVal, maxVal) { return new this(greenWhite, minVal, maxVal); }
    static createBlueRed(minVal, maxVal) { return new this(blueRed, minVal, maxVal); }
  };

  const KNEE = 0.92, SLOPE = (1 - KNEE) / (2 - KNEE);
  globalThis.HighlightCompressVisualizer = class {
    constructor(minValue = 0, maxValue = 1, gain = 1, offset = 0, gamma = 1) {
      Object.assign(this, {minValue, maxValue, gain, offset, gamma});
    }
    process(value) {
      let v = (this.gain * (value - this.minValue)) / (this.maxValue - this.minValue) + this.offset;
      if (this.gamma !== 1) v = Math.pow(Math.max(0, v), this.gamma);
      if (this.maxValue > 0 && this.maxValue < 1 && v > KNEE) v = KNEE + (v - KNEE) * SLOPE;
      return Math.max(0, Math.min(1, v));
    }
    processList(values) {
      return values.map((value) => this.process(value));
    }
  };
  // names of the first version that still work, though no page has them
  globalThis.DefaultVisualizer = globalThis.HighlightCompressVisualizer;
  globalThis.Identity = class {
    process(value) { return value; }
    processList(values) { return values; }
  };
})();
1
"""

PRELUDE = CONSTANTS + FUNCTIONS + LANDSAT + OLCI + COLORS
"""All of it, to be run before a script."""
