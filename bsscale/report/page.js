const config = JSON.parse(document.getElementById("config").textContent);
const views = {};

for (const place of document.querySelectorAll(".chart")) {
  const name = place.dataset.name;
  const spec = JSON.parse(document.getElementById("spec-" + name).textContent);
  vegaEmbed(place, spec, { renderer: "svg", actions: false, config }).then(
    (result) => {
      place.dataset.drawn = "true";
      views[name] = result.view;
    },
    (error) => {
      console.error(error);
      place.textContent = "This figure could not be drawn; its data are in the table below.";
    },
  );
}

// A name in a key brings out its arm; chosen again, all arms are back.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".keys button");
  const view = button && views[button.dataset.for];
  if (!view) return;
  const chosen = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.arm;
  for (const other of button.closest(".keys").querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other.dataset.arm === chosen));
  }
  view.signal("chosen", chosen).runAsync();
});
