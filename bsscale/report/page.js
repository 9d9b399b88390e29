const config = JSON.parse(document.getElementById("config").textContent);
for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(document.getElementById("spec-" + place.dataset.name).textContent);
  vegaEmbed(place, spec, { renderer: "svg", actions: false, config }).then(
    () => {
      // The place itself is the image; its parts have no names of their own.
      place.querySelector("svg").setAttribute("aria-hidden", "true");
      place.dataset.drawn = "true";
    },
    (error) => {
      console.error(error);
      place.textContent = "This figure could not be drawn; its data are in the table below.";
    },
  );
}
