"""A small table of each of cxrscore's layouts, for the kit to read and to damage."""

from cxrscore.labels.findings import FINDINGS

FOURTEEN = ",".join(FINDINGS)
OBSERVED = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
VINDR = "Aortic enlargement,Pleural effusion,No finding"


def filled(cells, count=14):
    """Cells as given, then zeros: as many as count."""
    return ",".join([*cells, *"0" * (count - len(cells))])


TABLES = {
    "nih": "Image Index,Finding Labels,Patient ID,Patient Age\na.png,Mass|Nodule,1,61\nb.png,No Finding,2,50\n",
    "nih-google": "Image Index,Patient ID,Fracture,Pneumothorax,Airspace opacity,Nodule or mass\n"
    "a.png,1,YES,NO,NO,NO\nb.png,2,NO,NO,YES,NO\n",
    "nih-boxes": "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000001_000.png,Mass,10.0,20.0,30.0,40.0,,,\n00000002_000.png,Nodule,10.0,20.0,30.0,40.0,,,\n",
    "chexpert": f"Path,Sex,Age,Frontal/Lateral,AP/PA,{OBSERVED}\n"
    f"CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,{filled('10')}\n"
    f"CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg,Male,70,Frontal,PA,{filled('01')}\n",
    "chexpert-studies": f"Study,{OBSERVED}\n"
    f"CheXpert-v1.0/test/patient64741/study1,{filled('10')}\nCheXpert-v1.0/test/patient64742/study1,{filled('01')}\n",
    "chexpert-plus": f"path_to_image,deid_patient_id,frontal_lateral,ap_pa,age,sex,{OBSERVED}\n"
    f"train/patient00001/study1/view1_frontal.jpg,patient00001,Frontal,AP,68.0,Female,{filled('10')}\n"
    f"train/patient00002/study1/view2_lateral.jpg,patient00002,Lateral,,70.0,Male,{filled('01')}\n",
    "brax": f"PngPath,PatientID,PatientSex,PatientAge,ViewPosition,{OBSERVED}\n"
    f"images/id_1/Study_1/Series_1/image-1.png,1,F,85 or more,PA,{filled('10')}\n"
    f"images/id_2/Study_2/Series_2/image-2.png,2,M,45,L,{filled('01')}\n",
    "cxr-lt": "dicom_id,subject_id,study_id,ViewPosition,Effusion,Hilum,Scoliosis\n"
    "02aa804e,10000032,50414267,PA,0,0,1\n174413ec,10000032,50414267,LATERAL,0,1,0\n",
    "mimic": f"subject_id,study_id,{OBSERVED}\n10000032,50414267,{filled('10')}\n10000764,57375967,{filled('01')}\n",
    "padchest": "ImageID,PatientID,Projection,Labels\na.png,1,PA,['cardiomegaly']\nb.png,2,AP,['normal']\n",
    "vindr": f"image_id,rad_id,{VINDR}\na,R1,1,0,0\nb,R1,0,0,1\n",
    "vindr-pcxr": "image_id,rad_ID,No finding,Bronchiolitis,Situs inversus\na,R1,1.0,0.0,0.0\nb,R1,0.0,1.0,0.0\n",
    "vindr-boxes": "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
    "a,Aortic enlargement,0,R1,10,20,30,40\nb,No finding,14,R1,,,,\n",
    "openi": "uid,filename,projection,MeSH,Problems\n"
    "1,1_IM-0001-4001.dcm.png,Frontal,normal,normal\n2,2_IM-0652-1001.dcm.png,Frontal,Mass/lung,Mass\n",
    "rsna": "patientId,x,y,width,height,Target\na,,,,,0\nb,10,20,30,40,1\n",
    "siim": "ImageId,EncodedPixels\na,-1\nb,119 1 30 2\n",
    "course": f"Image,{FOURTEEN},PatientId\n00000001_000.png,{filled('01')},1\n00000002_000.png,{filled('10')},2\n",
    "chexnet": f"Image Index,{FOURTEEN}\n00000001_000.png,{filled('01')}\n00000002_000.png,{filled('10')}\n",
    "plain": "film,patient,sex,Mass,Nodule\na.png,1,F,0,1\nsub/b.png,2,M,1,\nc.png,2,M,0,0\n",
}
