(function () {
  "use strict";
  var form = document.getElementById("filters");
  var search = document.getElementById("search");
  var entries = Array.prototype.slice.call(document.querySelectorAll("details.t"));
  var selects = Array.prototype.slice.call(form.querySelectorAll("select"));
  function apply() {
    var wanted = search.value.toLowerCase();
    var shown = 0;
    entries.forEach(function (entry) {
      var fits = selects.every(function (select) {
        return !select.value || entry.getAttribute("data-" + select.getAttribute("data-key")) === select.value;
      }) && (!wanted || entry.textContent.toLowerCase().indexOf(wanted) >= 0);
      entry.hidden = !fits;
      if (fits) { shown += 1; }
    });
    document.getElementById("count").textContent = shown + " shown";
    document.getElementById("none").hidden = shown > 0;
  }
  form.addEventListener("change", apply);
  search.addEventListener("input", apply);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  apply();
})();
